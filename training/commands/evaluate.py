"""`quincunx evaluate`: metrics of a package, for each mode and precision."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer
from rich.table import Table

from service.console.stdio import log, print_json
from service.console.terminal import console
from service.errors import UsageError
from service.package.manifest import Aggregation, Mode, Precision
from training.commands.options import AsJson, Precisions

if TYPE_CHECKING:
    from training.data.labelled import Labelled

app = typer.Typer()

DEFAULT_MODES = "none,five_crop,dense,adaptive"
UNGATED_MODES = "none,five_crop,dense"


@app.command()
def evaluate(
    package: Annotated[Path, typer.Argument(help="A model package.")],
    data: Annotated[
        Path,
        typer.Argument(
            help="Labelled images: DATA/<class>/* or DATA/val; a table of path,label (its rows of "
            "split val); or a name."
        ),
    ],
    tta: Annotated[
        str,
        typer.Option(
            help="TTA modes and baselines, comma separated. Baselines: full_image (one pass, no "
            "crop), five_passes (five_crop with nothing shared) and fastai_tta (learn.tta, "
            "seeded). Multi-label packages have neither baselines nor adaptive."
        ),
    ] = "",
    aggregate: Annotated[
        Aggregation, typer.Option(help="Multi-label packages: how views become one answer.")
    ] = "mean",
    precision: Precisions = "",
    coverage: Annotated[
        float | None, typer.Option(help="Also measure prediction sets with this coverage.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write a Markdown report with plots into this folder.")
    ] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Store the metrics in the manifest and model card.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure a package on labelled images with the code that serves it.

    It reports top-1 with its bootstrap 95% interval, top-5 if there are more than 5 classes,
    negative log-likelihood, and expected calibration error (15 bins). It also counts the answers
    that TTA changes from right to wrong and from wrong to right, against the single centre crop.
    For a multi-label package: mean average precision with its interval, F1 at the thresholds,
    binary log-likelihood.
    """
    from service.package.package import ModelPackage
    from training.data.named_data import located
    from training.evaluation import evaluate as evaluation
    from training.evaluation.methods import BASELINES

    manifest = ModelPackage.load(package).manifest
    several = manifest.task == "multi_label"
    known = get_args(Mode) if several else (*get_args(Mode), *BASELINES)
    gated = any(entry.gate for entry in manifest.calibration)
    modes = chosen(tta or (DEFAULT_MODES if gated else UNGATED_MODES), known, "tta")
    precisions = chosen(precision, get_args(Precision), "precision") if precision else None
    items = evaluation.labelled(located(data), manifest)
    if several:
        if coverage is not None:
            raise UsageError("--coverage needs one true class, and this package is multi-label")
        _evaluate_labels(package, items, modes, precisions, aggregate, report, record, as_json)
        return
    if aggregate != "mean":
        raise UsageError("--aggregate is for multi-label packages; others are measured by the mean")
    measured = evaluation.evaluate(package, items, modes, precisions, coverage=coverage)
    if as_json:
        print_json(evaluation.as_json(measured))
    else:
        show(measured)
    for path, reason in measured.unreadable.items():
        log(f"skipped {path}: {reason}")
    for line in (*items.notes, *measured.left_out.lines(undecoded=False)):
        log(line)
    if report:
        from training.evaluation.report import write_report

        log(f"report: {write_report(package, measured, report)}")
    if record:
        from training.evaluation.record import record_metrics

        record_metrics(package, measured)


def _evaluate_labels(
    package: Path,
    items: "Labelled",
    modes: list[Mode],
    precisions: list[Precision] | None,
    aggregate: Aggregation,
    report: Path | None,
    record: bool,
    as_json: bool,
) -> None:
    from training.evaluation import multi_label as evaluation

    if record and aggregate != "mean":
        raise UsageError("--record keeps what is served by default: --aggregate mean")
    measured = evaluation.evaluate(package, items, modes, precisions, aggregate=aggregate)
    if as_json:
        print_json(evaluation.as_json(measured))
    else:
        table = Table(title=f"{measured.rows[0].scores.images} images, {aggregate} over views")
        for column in evaluation.COLUMNS:
            table.add_column(column)
        for row in measured.rows:
            table.add_row(*row.cells())
        console().print(table)
    for path, reason in measured.unreadable.items():
        log(f"skipped {path}: {reason}")
    for line in (*items.notes, *measured.left_out.lines(undecoded=False)):
        log(line)
    if report:
        from training.evaluation.multi_label_report import write_report

        log(f"report: {write_report(measured, report)}")
    if record:
        from training.evaluation.record import record_label_metrics

        record_label_metrics(package, measured)


def chosen(text: str, known: tuple[str, ...], option: str) -> list:
    """Split a comma-separated option.

    Raises:
        UsageError: a value that is not known.
    """
    values = [value.strip() for value in text.split(",") if value.strip()]
    for value in values:
        if value not in known:
            raise UsageError(f"--{option} must be of {', '.join(known)}, but got {value!r}")
    if not values:
        raise UsageError(f"--{option} is empty; choose of {', '.join(known)}")
    return list(dict.fromkeys(values))


def show(measured) -> None:
    """Print the table."""
    rows = measured.rows
    table = Table(title=f"{rows[0].scores.images} images")
    for column in ("precision", "mode", "top-1 %", "95%", "top-5 %", "NLL", "ECE %"):
        table.add_column(column, justify="left" if column in {"precision", "mode"} else "right")
    table.add_column("cost (crops)", justify="right")
    table.add_column("right→wrong", justify="right")
    table.add_column("wrong→right", justify="right")
    with_sets = any(row.coverage is not None for row in rows)
    if with_sets:
        table.add_column("coverage %", justify="right")
        table.add_column("set size", justify="right")
    for row in rows:
        s = row.scores
        low, high = s.top1_interval
        cells = [
            row.precision,
            row.mode,
            f"{100 * s.top1:.2f}",
            f"{100 * low:.2f} to {100 * high:.2f}",
            "" if s.top5 is None else f"{100 * s.top5:.2f}",
            f"{s.nll:.4f}",
            f"{100 * s.ece:.2f}",
            f"{row.cost:.2f}",
            "" if row.turned_wrong is None else str(row.turned_wrong),
            "" if row.turned_right is None else str(row.turned_right),
        ]
        if with_sets:
            cells.append("" if row.coverage is None else f"{100 * row.coverage:.2f}")
            cells.append("" if row.mean_set_size is None else f"{row.mean_set_size:.2f}")
        table.add_row(*cells)
    console().print(table)
