"""`quincunx import`: a model of another library becomes a model package."""

from pathlib import Path
from typing import Annotated, Any

import typer

from service.console.stdio import answer, log
from service.errors import UsageError
from service.package.manifest import Decode, Interpolation
from training.commands.options import Overwrite

app = typer.Typer()


@app.command()
def import_model(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="FILE.onnx, timm:NAME, torchvision:NAME, hf:FOLDER_OR_NAME, "
            "python:MODULE:FUNCTION or learner.pkl",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="The package to write: models/NAME.")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Names of the classes: text with one on each line, or JSON; or the word numbers.",
        ),
    ] = None,
    normalization: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Mean and std by name: imagenet, half (.5, .5); or 0..1, 0..255 for a model that "
            "takes such pixels and normalizes them inside.",
        ),
    ] = None,
    mean: Annotated[
        str | None, typer.Option(metavar="R,G,B", help="Mean of each channel, in units of 0..1.")
    ] = None,
    std: Annotated[
        str | None, typer.Option(metavar="R,G,B", help="Std of each channel, in units of 0..1.")
    ] = None,
    crop_px: Annotated[int | None, typer.Option(min=1, help="Side of a crop.")] = None,
    resize_px: Annotated[
        int | None, typer.Option(min=1, help="Shorter side of the resized image.")
    ] = None,
    interpolation: Annotated[
        Interpolation | None, typer.Option(help="The filter of every resize.")
    ] = None,
    layout: Annotated[
        str | None, typer.Option(help="Axes of the input, NCHW or NHWC; by default found.")
    ] = None,
    channels: Annotated[str, typer.Option(help="Order of the channels: RGB or BGR.")] = "RGB",
    activation: Annotated[
        str | None,
        typer.Option(
            help="What the model gives: none (logits), softmax or sigmoid; by default found."
        ),
    ] = None,
    output: Annotated[
        str | None, typer.Option(metavar="NAME", help="The output with the classes, of several.")
    ] = None,
    decode: Annotated[
        Decode, typer.Option(help="How files become pixels: see quincunx export --help.")
    ] = "exact",
    photos: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Images for the comparison with the source; by default drawn pictures.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA",
            help="Labelled images that the model was not trained on: FOLDER/<class>/*, FOLDER/val "
            "or a table. The package is quantized and calibrated on one half and measured on the "
            "other half.",
        ),
    ] = None,
    int8: Annotated[bool, typer.Option(help="With --data: also build the int8 graph.")] = True,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="timm, torchvision: weights from a file (safetensors, or .pth of tensors only) "
            "instead of a download.",
        ),
    ] = None,
    trust_pickle: Annotated[
        bool,
        typer.Option(
            "--trust-pickle",
            help="learner.pkl: the file may run any code on this machine when it is read, and you "
            "trust the person who made it.",
        ),
    ] = False,
    version: Annotated[str, typer.Option(help="The package's version.")] = "1",
    overwrite: Overwrite = False,
) -> None:
    """Turn a classifier of another library into a model package.

    The package is compared with its source at several sizes and batches, and refused if it differs.
    What a source does not say must be named; without that, the command lists what it found and what
    is missing.
    """
    if out is None:
        raise UsageError("an import needs --out FOLDER, the package to write: models/NAME")
    from training.export.writer import check_replaceable, check_version
    from training.imports.given import Given, one_of, triple
    from training.imports.package import write
    from training.imports.sources import open_source
    from training.surgery.wanted import Activation, Channels, Layout

    check_replaceable(out, overwrite=overwrite)
    check_version(version)
    literal: dict[str, Any] = {
        "layout": one_of(layout and layout.upper(), Layout, "--layout"),
        "channels": one_of(channels.upper(), Channels, "--channels"),
        "activation": one_of(activation, Activation, "--activation"),
    }
    given = Given(
        labels=labels,
        normalization=normalization,
        mean=triple(mean, "--mean"),
        std=triple(std, "--std", positive=True),
        crop_px=crop_px,
        resize_px=resize_px,
        interpolation=interpolation,
        output=output,
        decode=decode,
        photos=photos,
        version=version,
        weights=weights,
        trust_pickle=trust_pickle,
        **literal,
    )
    converted, spec = open_source(source, given)
    done = write(converted, spec, out, overwrite=overwrite, log=log)
    if data is not None:
        from training.data.named_data import located
        from training.imports.finish import finish, labelled_images

        finish(out, labelled_images(out, located(data), log), int8=int8, log=log)
    answer(done.folder)
