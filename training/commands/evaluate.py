"""`quincunx evaluate`: metrics of a package, for each mode and precision."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from service.commands.options import AsJson, Package
from service.console.nearest import with_hint
from service.console.stdio import log, print_json
from service.console.terminal import console
from service.errors import UsageError
from service.package.manifest import Aggregation, Manifest, Mode, Precision
from training.commands.evaluate_answers import compare_with_foreign, measure_feedback_log
from training.commands.options import MeasuredBox, Precisions

if TYPE_CHECKING:
    from service.inference.image.geometry import FractionBox

app = typer.Typer()

DEFAULT_MODES: tuple[Mode, ...] = ("none", "five_crop", "dense", "adaptive")


@app.command()
def evaluate(
    package: Package,
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="DATA",
            help="Labelled images: a folder DATA/<class>/* or DATA/val/<class>/*; a table of "
            "path,label (its rows with the split val); or a name: imagenette, imagewoof. Not "
            "needed with --feedback.",
        ),
    ] = None,
    tta: Annotated[
        str,
        typer.Option(
            metavar="MODE,MODE,…",
            help="TTA modes and baselines, separated by commas; by default none, five_crop, dense "
            "and adaptive, as far as the package can answer them. Baselines: full_image (one pass "
            "over the whole image), five_passes (five_crop, each crop as a pass of its own) and "
            "fastai_tta (fastai's learn.tta with a fixed seed). Multi-label packages have no "
            "baselines and no adaptive.",
        ),
    ] = "",
    aggregate: Annotated[
        Aggregation, typer.Option(help="Multi-label packages: how the views become one answer.")
    ] = "mean",
    box: MeasuredBox = None,
    precision: Precisions = "",
    coverage: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Also measure the prediction sets of this coverage, such as 0.95.",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write a Markdown report with plots into this folder."),
    ] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Store the metrics in the manifest and model card.")
    ] = False,
    feedback: Annotated[
        Path | None,
        typer.Option(
            metavar="LOG",
            help="Instead of DATA: a feedback log, which is a Parquet file or the folder that "
            "QUINCUNX_FEEDBACK_FOLDER names. It measures the answers that a server gave.",
        ),
    ] = None,
    foreign: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Images of none of the model's classes. Instead of the accuracy, it measures how "
            "well the unknown score tells them from the images of DATA.",
        ),
    ] = None,
    known_rate: Annotated[
        str | None,
        typer.Option(
            metavar="RATE",
            help="With --foreign: the share of known images to accept; by default the package's.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a package on labelled images with the code that serves it.

    It reports top-1 with its bootstrap 95% interval, top-5 if there are more than 5 classes,
    negative log-likelihood, and expected calibration error (15 bins). If the single crop (mode
    none) is among the modes, every mode is compared with it on the same images: answers corrected,
    answers spoiled, the difference with its interval, and McNemar's p. In the same way every
    precision is compared with fp32.

    For a multi-label package: mean average precision with its interval, F1 at the thresholds,
    binary log-likelihood.
    """
    from service.package.package import ModelPackage
    from service.replacing import check_writable
    from training.data.named_data import located
    from training.evaluation.evaluate import labelled
    from training.task import TRAINING_TASKS

    manifest = ModelPackage.load(package).manifest
    if feedback is not None:
        if data is not None:
            raise UsageError("give DATA or --feedback, not both")
        unused = {
            "--foreign": foreign, "--tta": tta, "--precision": precision, "--coverage": coverage,
            "--report": report, "--record": record, "--known-rate": known_rate,
            "--aggregate": aggregate != "mean", "--box": bool(box),
        }  # fmt: skip
        if given := [name for name, value in unused.items() if value not in (None, "", False)]:
            raise UsageError(f"--feedback measures answers that were given: no {', '.join(given)}")
        measure_feedback_log(feedback, manifest, as_json=as_json)
        return
    if data is None:
        raise UsageError("evaluate needs DATA, which are labelled images, or --feedback LOG")
    if report:
        check_writable(report)
    task = TRAINING_TASKS[manifest.task]
    precisions = chosen(precision, get_args(Precision), "precision") if precision else None
    usual = answerable(DEFAULT_MODES, manifest, precisions, log if not tta else None)
    if foreign is not None:
        if record or coverage is not None or aggregate != "mean" or box:
            raise UsageError(
                "--foreign cannot be used with --record, --coverage, --aggregate or --box"
            )
        measured_modes = chosen(tta or usual, get_args(Mode), "tta")
        known = labelled(located(data), manifest)
        compare_with_foreign(
            package, known, foreign, measured_modes, precisions, known_rate, report, as_json=as_json
        )
        return
    if known_rate is not None:
        raise UsageError("--known-rate goes with --foreign")
    modes = chosen(tta or usual, task.methods(), "tta")
    boxes = measured_boxes(box, modes, manifest)
    if record and boxes:
        raise UsageError("--record cannot store metrics of custom, because its boxes may differ")
    if record and aggregate != "mean":
        raise UsageError("--record keeps what is served by default: --aggregate mean")
    items = labelled(located(data), manifest)
    measured = task.evaluate(
        package, items, modes, precisions, coverage=coverage, aggregate=aggregate, boxes=boxes
    )
    if as_json:
        print_json(task.as_json(measured))
    else:
        console().print(task.terminal_table(measured))
    for path, reason in measured.unreadable.items():
        log(f"skipped {path}: {reason}")
    for line in (*items.notes, *measured.left_out.lines(undecoded=False)):
        log(line)
    if report:
        log(f"report: {task.write_report(package, measured, report)}")
    if record:
        task.record(package, measured, log)


def measured_boxes(
    box: Sequence[str] | None, modes: Sequence[str], manifest: Manifest
) -> "tuple[FractionBox, ...]":
    """The crops of `custom`, from the values of ``--box``.

    Raises:
        UsageError: `custom` without boxes, or boxes without it; or a value that is no box.
    """
    from service.inference.image.views import check_fractions
    from service.inference.option_text import box_of
    from service.inference.tta.planner import Planner

    boxes = tuple(box_of("--box", text) for text in box or ())
    if boxes and "custom" not in modes:
        raise UsageError("--box is for the mode custom, which is not among the modes of --tta")
    if "custom" in modes:
        Planner(manifest.input, graph=manifest.graph).check("custom", boxes)
    for one in boxes:
        check_fractions(one)
    return boxes


def answerable(
    wanted: Sequence[Mode],
    manifest: Manifest,
    precisions: Sequence[Precision] | None,
    log: Callable[[str], None] | None = None,
) -> str:
    """Those of the modes that every one of the precisions can answer, comma separated.

    `precisions` None: those that the package has. `log` gets a message if `adaptive` is left out
    of a package that could have it.
    """
    from service.package.modes import common_modes, without_adaptive

    measured = precisions or [file.precision for file in manifest.files]
    answered = common_modes(manifest, measured, wanted)
    message = without_adaptive(manifest, measured, answered) if "adaptive" in wanted else ""
    if log and message:
        log(message)
    return ",".join(answered)


def chosen(text: str, known: tuple[str, ...], option: str) -> list:
    """Split a comma-separated option.

    Raises:
        UsageError: a value that is not known.
    """
    values = [value.strip() for value in text.split(",") if value.strip()]
    for value in values:
        if value not in known:
            message = f"--{option} takes {', '.join(known)}, but got {value!r}"
            raise UsageError(with_hint(message, value, known))
    if not values:
        raise UsageError(f"--{option} is empty; it takes {', '.join(known)}")
    return list(dict.fromkeys(values))
