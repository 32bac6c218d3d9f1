"""`quincunx export`: a run's checkpoint becomes a model package."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from service.commands.options import complete_package, package_folder
from service.console.stdio import answer, log
from service.errors import UsageError
from service.package.manifest import STRIDE_PX, Decode, Fit, InputSize
from training.commands.options import Overrides, Overwrite

app = typer.Typer()


@app.command()
def export(
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN", help="The folder of a run, such as runs/NAME, with its checkpoint."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="The package to write: models/NAME.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA",
            help="The data set that the run was trained on: a folder, a table or a name.",
        ),
    ] = None,
    int8: Annotated[bool, typer.Option(help="Also build the int8 graph, for CPUs.")] = True,
    fp16: Annotated[bool, typer.Option(help="Also build the fp16 graph, for GPUs.")] = False,
    version: Annotated[str, typer.Option(metavar="VERSION", help="The package's version.")] = "1",
    crop_px: Annotated[
        int | None,
        typer.Option(min=1, help="Side of a crop, a multiple of 32; by default the recipe's."),
    ] = None,
    resize_px: Annotated[
        int | None,
        typer.Option(min=1, help="Side of the resized image (--fit); by default the recipe's."),
    ] = None,
    fit: Annotated[
        Fit | None,
        typer.Option(
            help="shorter_side: a photo keeps its shape, and its shorter side becomes --resize-px. "
            "squash: both sides do. By default as the run was trained."
        ),
    ] = None,
    decode: Annotated[
        Decode | None,
        typer.Option(
            help="How files become pixels. exact: every pixel is decoded, then the image is "
            "resized. scaled: large JPEGs are scaled down while they are decoded, which is faster "
            "for photos of phones. By default as the run was trained."
        ),
    ] = None,
    statistics_images: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Measure the statistics of batch normalization again, on served crops of this "
            "many training images; 0 keeps those of training. By default as the recipe says.",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Instead of RUN: a safetensors file of another program, with the parameter names "
            "of the recipe's architecture in torch.",
        ),
    ] = None,
    normalization: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="With --weights: JSON with mean and std, and optionally classes."
        ),
    ] = None,
    recipe: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="With --weights: the recipe, for its architecture and calibration split.",
        ),
    ] = "",
    overrides: Overrides = None,
    origin: Annotated[
        str,
        typer.Option(
            metavar="TEXT", help="With --weights: a sentence that says where they come from."
        ),
    ] = "",
    allow_unfinished: Annotated[
        bool, typer.Option("--allow-unfinished", help="Also export a run that is not finished.")
    ] = False,
    overwrite: Overwrite = False,
    add_fp16: Annotated[
        Path | None,
        typer.Option(
            metavar="PACKAGE",
            help="Derive the fp16 graph of an existing package, and stop.",
            parser=package_folder,
            autocompletion=complete_package,
        ),
    ] = None,
) -> None:
    """Turn a run's checkpoint into a model package, or add the fp16 graph to one.

    With --weights, a safetensors file of another program takes the place of the run.

    The graph is compared with the checkpoint on real images at three shapes, and refused if it
    differs.
    """
    if add_fp16 is not None:
        if run or out or data or crop_px or resize_px or fit:
            raise UsageError(
                "--add-fp16 PACKAGE takes no RUN, --out, --data, --crop-px, --resize-px or --fit"
            )
        from training.export.fp16 import add_fp16 as add

        answer(add(add_fp16, log=log))
        return
    if (run is None) == (weights is None) or out is None or data is None:
        raise UsageError("an export needs RUN or --weights FILE, and --out FOLDER and --data DATA")
    from training.data.named_data import located
    from training.export.export import export_package
    from training.export.outside_weights import OutsideWeights
    from training.recipe import load

    source: Path | OutsideWeights
    if run is not None:
        if normalization or recipe or overrides or origin:
            raise UsageError("--normalization, --recipe, --set and --origin go with --weights")
        source = run
    elif weights is None or normalization is None or not recipe or not origin:
        raise UsageError("--weights needs --normalization FILE, --recipe NAME and --origin TEXT")
    else:
        source = OutsideWeights(weights, normalization, load(recipe, overrides), origin)
    answer(
        export_package(
            source,
            out,
            located(data),
            int8=int8,
            fp16=fp16,
            version=version,
            allow_unfinished=allow_unfinished,
            sizes=_sizes(crop_px, resize_px),
            decode=decode,
            fit=fit,
            statistics_images=statistics_images,
            overwrite=overwrite,
            log=log,
        )
    )


def _sizes(crop_px: int | None, resize_px: int | None) -> InputSize | None:
    """The served sizes. A network often answers best a little above or below its recipe's sizes."""
    if crop_px is None and resize_px is None:
        return None
    if crop_px is None or resize_px is None:
        raise UsageError("--crop-px and --resize-px go together")
    for name, side_px in (("--crop-px", crop_px), ("--resize-px", resize_px)):
        if side_px % STRIDE_PX:
            raise UsageError(
                f"{name} must be a multiple of the network's stride, {STRIDE_PX} px, "
                f"but got {side_px}"
            )
    try:
        return InputSize(crop_px=crop_px, resize_px=resize_px)
    except ValidationError as error:
        raise UsageError(
            f"--crop-px {crop_px} --resize-px {resize_px}: {error.errors()[0]['msg']}"
        ) from None
