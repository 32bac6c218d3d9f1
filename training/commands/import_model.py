"""`quincunx import`: a model of another library becomes a model package."""

from pathlib import Path
from typing import Annotated, Any

import typer

from service.console.stdio import answer, log
from service.errors import UsageError
from service.package.manifest import Decode, Fit, Interpolation
from training.commands.options import Overwrite

app = typer.Typer()


@app.command()
def import_model(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="FILE.onnx, timm:NAME, torchvision:NAME, hf:FOLDER_OR_NAME, "
            "python:MODULE:FUNCTION or learner.pkl.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="The package to write: models/NAME.")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Names of the classes: a text file with one on each line, or a JSON file. The "
            "word numbers instead of a file: the names are 0, 1, 2 and so on.",
        ),
    ] = None,
    normalization: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="imagenet: ImageNet's mean and std; half: 0.5 and 0.5. 0..1 or 0..255: the model "
            "takes pixels of this range and normalizes them itself.",
        ),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(metavar="R,G,B", help="Mean of each channel, for pixels from 0 to 1."),
    ] = None,
    std: Annotated[
        str | None,
        typer.Option(
            metavar="R,G,B", help="Standard deviation of each channel, for pixels from 0 to 1."
        ),
    ] = None,
    crop_px: Annotated[int | None, typer.Option(min=1, help="Side of a crop.")] = None,
    resize_px: Annotated[
        int | None, typer.Option(min=1, help="Side of the resized image: see --fit.")
    ] = None,
    interpolation: Annotated[
        Interpolation | None, typer.Option(help="The filter with which images are resized.")
    ] = None,
    fit: Annotated[
        Fit | None,
        typer.Option(
            help="shorter_side: a photo keeps its shape, and its shorter side becomes --resize-px. "
            "squash: both sides do. By default as the source says, else shorter_side."
        ),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            metavar="NCHW|NHWC", help="Order of the input's axes; by default it is detected."
        ),
    ] = None,
    channels: Annotated[
        str, typer.Option(metavar="RGB|BGR", help="Order of the input's channels.")
    ] = "RGB",
    activation: Annotated[
        str | None,
        typer.Option(
            metavar="none|softmax|sigmoid",
            help="What the model's last layer is; none: the model returns logits. By default it is "
            "detected.",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The output that holds the classes, if there are several outputs."
        ),
    ] = None,
    decode: Annotated[
        Decode, typer.Option(help="How files become pixels: see quincunx export --help.")
    ] = "exact",
    photos: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Photos on which the package is compared with its source; by default drawn "
            "images.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA",
            help="Labelled images that the model was not trained on: a folder DATA/<class>/* or "
            "DATA/val/<class>/*, or a table of path,label. The package is quantized and calibrated "
            "on one half of them, and measured on the other half.",
        ),
    ] = None,
    int8: Annotated[bool, typer.Option(help="With --data: also build the int8 graph.")] = True,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="For timm and torchvision: read the weights from this file (safetensors, or .pth "
            "that holds tensors only) instead of downloading them.",
        ),
    ] = None,
    trust_pickle: Annotated[
        bool,
        typer.Option(
            "--trust-pickle",
            help="For learner.pkl: read the file although it can run any code on this machine. Use "
            "it only for files of people whom you trust.",
        ),
    ] = False,
    version: Annotated[str, typer.Option(metavar="VERSION", help="The package's version.")] = "1",
    overwrite: Overwrite = False,
) -> None:
    """Turn a classifier of another library into a model package.

    The package is compared with its source at several sizes and batches, and refused if it differs.
    Some sources do not say their preprocessing or their classes. Then the command lists what it
    found and which options are missing.
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
        fit=fit,
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
