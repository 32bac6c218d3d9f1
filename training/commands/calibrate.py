"""`quincunx calibrate`: fit confidence, gate and prediction sets on the held-out split."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from service.commands.options import Package
from service.console.stdio import answer, log
from service.errors import UsageError
from service.package.manifest import Fit, Mode, Precision
from training.calibration.tolerance import Tolerance
from training.commands.options import Overwrite

LEAST_CROPS = 0.1
SERVED_CROP = 1.0
TOLERANCE = Tolerance()

app = typer.Typer()


@app.command()
def calibrate(
    package: Package,
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="The data set that the package was trained on (its held-out images are used), or "
            "other labelled images: a folder DATA/<class>/* or DATA/val/<class>/*; a table of "
            "path,label; or a name: imagenette, imagewoof.",
        ),
    ],
    top1_tolerance: Annotated[
        float,
        typer.Option(
            help="How much accuracy, from 0 to 1, may be lost by a gate that opens less often than "
            "the best one. The upper 95% bound of the paired loss must stay within it."
        ),
    ] = TOLERANCE.top1,
    nll_tolerance: Annotated[
        float,
        typer.Option(help="The same for the negative log-likelihood, in nats."),
    ] = TOLERANCE.nll,
    adaptive_cost: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[PRECISION=]CROPS",
            help="Mean cost of adaptive, in single crops, as in --adaptive-cost 0.8, or for each "
            "precision: --adaptive-cost fp32=1.25 --adaptive-cost int8=0.8. With this option "
            "cheaper first passes are tried too, and the passes are chosen that agree most with "
            "exact five crops. By default adaptive begins with the served crop: see "
            "--max-adaptive-cost.",
        ),
    ] = None,
    max_adaptive_cost: Annotated[
        float | None,
        typer.Option(
            metavar="CROPS",
            help="The highest mean cost of adaptive on the calibration images, in single crops, at "
            "least 1. Calibration takes the gate with the best likelihood within it, or a cheaper "
            f"one that is no worse.  [default: {TOLERANCE.cost:g}]",
        ),
    ] = None,
    only_unknown: Annotated[
        bool,
        typer.Option(
            "--only-unknown",
            help="Fit only the unknown score of a package that is calibrated already.",
        ),
    ] = False,
    default_mode: Annotated[
        Mode | None,
        typer.Option(
            help="The mode that is used if a request names no mode. By default calibration chooses "
            "it: adaptive, unless another mode is better with 95% confidence."
        ),
    ] = None,
    fit: Annotated[
        Fit | None,
        typer.Option(
            help="How a photo is resized before views are cut. shorter_side: it keeps its shape. "
            "squash: it becomes a square, for networks that were trained on photos squashed to "
            "squares. Recorded metrics are dropped. By default the package's own fit stays."
        ),
    ] = None,
    version: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="The new version; by default the version stays."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write the calibrated package to this folder, and leave PACKAGE as it is.",
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Fit temperatures, view weights, the gate of adaptive, prediction sets and the unknown score.

    For a multi-label package: temperatures, view weights and a threshold for each class.

    The package is changed in place, or a copy of it with --out. Its model card is written again.
    Recorded metrics that the new calibration makes stale are dropped, with a message.

    The fit needs images that the model was not trained on, at least 50. If DATA is the data set
    that the package was trained on, its calibration split (the images that were held out) is
    computed again from the recipe in the manifest.
    """
    from service.inference.tta.task import TASKS
    from service.package.package import ModelPackage
    from service.package.recorded.holding import answers_differ
    from training.calibration import calibrate as calibration
    from training.calibration.images import calibration_images, training_images
    from training.data.named_data import located
    from training.export.change import changeable, write_change
    from training.export.refit import with_fit
    from training.export.writer import check_version

    if version is not None:
        check_version(version)
    data = located(data)
    loaded = ModelPackage.load(package)
    limits_adaptive = bool(adaptive_cost) or max_adaptive_cost is not None
    if limits_adaptive and not TASKS[loaded.manifest.task].one_is_true:
        raise UsageError(
            f"{loaded.manifest.name} is multi-label, and such a package has no mode adaptive: "
            "leave out --adaptive-cost and --max-adaptive-cost"
        )
    if only_unknown and (limits_adaptive or default_mode or fit):
        raise UsageError("--only-unknown changes neither the gate, the default mode nor the fit")
    tolerance = Tolerance(
        top1=top1_tolerance, nll=nll_tolerance, cost=_most(max_adaptive_cost, adaptive_cost or [])
    )
    budgets = _budgets(adaptive_cost or [])
    with (
        changeable(package, out, overwrite=overwrite) as target,
        with_fit(target, fit, log, copied=out is not None) as folder,
    ):
        items, training = calibration_images(loaded, data, log), training_images(loaded, data)
        if only_unknown:
            manifest = calibration.calibrate_unknown(folder, items, training=training, log=log)
            done = f"unknown score fitted, thresholds from {len(items)} images"
        else:
            manifest = calibration.calibrate(
                folder,
                items,
                training=training,
                tolerance=tolerance,
                budgets=budgets,
                default_mode=default_mode,
                log=log,
            )
            done = f"calibrated on {len(items)} images; default mode {manifest.default_mode}"
        if version is not None:
            new = manifest.model_copy(update={"version": version})
            write_change(ModelPackage.load(folder), new, log)
        elif answers_differ(loaded.manifest, manifest):
            log(f"the version is still {manifest.version}, but answers changed: see --version")
    answer(f"{out or package}: {done}")


def _most(given: float | None, budgets: Sequence[str]) -> float:
    """The highest mean cost, in crops; `budgets` are the values of --adaptive-cost."""
    if given is None:
        return TOLERANCE.cost
    if budgets:
        raise UsageError("give --max-adaptive-cost or --adaptive-cost: each chooses the gate")
    if not SERVED_CROP <= given < float("inf"):
        raise UsageError(
            f"--max-adaptive-cost {given:g}: a mean cost in crops, at least {SERVED_CROP:g}, "
            "because the served crop runs first; --adaptive-cost tries cheaper first passes"
        )
    return given


def _budgets(costs: Sequence[str]) -> dict[Precision, float]:
    """``["1.4", "fp32=1.25"]``: a cost for every precision, and other costs for some of them."""
    precisions: tuple[Precision, ...] = get_args(Precision)
    everywhere: dict[Precision, float] = {}
    own: dict[Precision, float] = {}
    for given in costs:
        name, _, number = given.rpartition("=")
        try:
            crops = float(number)
        except ValueError:
            crops = 0.0
        if not LEAST_CROPS <= crops < float("inf") or name not in ("", *precisions):
            raise UsageError(
                f"--adaptive-cost {given}: a mean cost in crops from {LEAST_CROPS:g}, for one "
                f"precision ({', '.join(precisions)}) as in int8=1.4"
            )
        if name:
            own[cast(Precision, name)] = crops
        else:
            everywhere = dict.fromkeys(precisions, crops)
    return {**everywhere, **own}
