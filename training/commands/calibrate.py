"""`quincunx calibrate`: fit confidence, gate and prediction sets on the held-out split."""

from pathlib import Path
from typing import Annotated

import typer

from service.inference.manifest import Mode

app = typer.Typer()


@app.command()
def calibrate(
    package: Annotated[Path, typer.Argument(help="A model package; its manifest is rewritten.")],
    data: Annotated[
        Path,
        typer.Argument(help="The data set that the package was trained on: folder, table or name."),
    ],
    top1_tolerance: Annotated[
        float, typer.Option(help="Accuracy that adaptive may lose against dense, in 0..1.")
    ] = 0.002,
    nll_tolerance: Annotated[
        float, typer.Option(help="NLL that adaptive may lose against dense, in nats.")
    ] = 0.01,
    adaptive_cost: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            help="Instead of the tolerances: the likeliest answers at this mean cost in crops.",
        ),
    ] = None,
    default_mode: Annotated[
        Mode | None,
        typer.Option(help="What requests get; without it the cheapest mode that keeps up."),
    ] = None,
) -> None:
    """Fit temperatures, view weights, the gate of adaptive TTA and conformal quantiles.

    Of a multi-label package: temperatures, view weights and a threshold for each class.

    On the calibration split that was held out of training: recomputed from the recipe in the
    manifest, and refused where DATA is not the data set that the package was trained on.
    """
    from service.inference.package import ModelPackage
    from training import calibrate as calibration
    from training.gates import Tolerance
    from training.named_data import located

    data = located(data)
    items = calibration.held_out(ModelPackage.load(package), data)
    tolerance = Tolerance(top1=top1_tolerance, nll=nll_tolerance)
    manifest = calibration.calibrate(
        package,
        items,
        tolerance=tolerance,
        budget=adaptive_cost,
        default_mode=default_mode,
        say=lambda line: typer.echo(line, err=True),
    )
    typer.echo(
        f"{package}: calibrated on {len(items)} images; default mode {manifest.default_mode}"
    )
