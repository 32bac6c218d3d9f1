"""`quincunx calibrate`: fit confidence, gate and prediction sets on the held-out split."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from service.commands.options import Package
from service.console.stdio import answer, log
from service.errors import UsageError
from service.package.manifest import Mode, Precision
from training.calibration.tolerance import Tolerance

LEAST_CROPS = 0.1
TOLERANCE = Tolerance()

app = typer.Typer()


@app.command()
def calibrate(
    package: Package,
    data: Annotated[
        Path,
        typer.Argument(
            help="The data set that the package was trained on (its held-out images are used), or "
            "other labelled images: FOLDER/<class>/*, FOLDER/val, a table, or a name."
        ),
    ],
    top1_tolerance: Annotated[
        float,
        typer.Option(
            help="Accuracy that a gate which opens less often may lose, in 0..1: the upper 95% "
            "bound of the paired difference."
        ),
    ] = TOLERANCE.top1,
    nll_tolerance: Annotated[
        float, typer.Option(help="The same for NLL, in nats.")
    ] = TOLERANCE.nll,
    adaptive_cost: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[PRECISION=]CROPS",
            help="Try cheaper first passes too, and choose what agrees most with exact five crops "
            "at this mean cost in crops, as in --adaptive-cost fp32=1.25 --adaptive-cost int8=0.8. "
            "By default adaptive begins with the served crop and may cost "
            f"{TOLERANCE.cost:g} crops.",
        ),
    ] = None,
    only_unknown: Annotated[
        bool,
        typer.Option(
            "--only-unknown",
            help="Fit the unknown score of a calibrated package, and change nothing else.",
        ),
    ] = False,
    default_mode: Annotated[
        Mode | None,
        typer.Option(
            help="The mode of requests that name none; by default adaptive, or what is better "
            "beyond doubt."
        ),
    ] = None,
) -> None:
    """Fit temperatures, view weights, the gate of adaptive TTA, conformal quantiles, unknown score.

    For a multi-label package: temperatures, view weights and a threshold for each class.

    They are fitted on images that were held out of training. Where DATA is the data set that the
    package was trained on, its calibration split is computed again from the recipe in the manifest.
    Other images must be ones that the model was not trained on, at least 50 of them.
    """
    from service.package.package import ModelPackage
    from training.calibration import calibrate as calibration
    from training.calibration.images import calibration_images, training_images
    from training.data.named_data import located

    data = located(data)
    loaded = ModelPackage.load(package)
    items, training = calibration_images(loaded, data, log), training_images(loaded, data)
    if only_unknown:
        if adaptive_cost or default_mode:
            raise UsageError("--only-unknown changes neither the gate nor the default mode")
        calibration.calibrate_unknown(package, items, training=training, log=log)
        answer(f"{package}: unknown score fitted, thresholds from {len(items)} images")
        return
    tolerance = Tolerance(top1=top1_tolerance, nll=nll_tolerance)
    manifest = calibration.calibrate(
        package,
        items,
        training=training,
        tolerance=tolerance,
        budgets=_budgets(adaptive_cost or []),
        default_mode=default_mode,
        log=log,
    )
    answer(f"{package}: calibrated on {len(items)} images; default mode {manifest.default_mode}")


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
