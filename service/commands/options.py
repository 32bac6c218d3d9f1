"""Options that several commands take, each defined once.

The options of an image come from `service.inference.options.Options`, with their bounds and help.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from service.errors import UsageError
from service.inference.option_text import bounds_of, read_text
from service.inference.options import Options
from service.package.manifest import Aggregation, Mode


def _option(name: str, **more: Any) -> Any:
    field = Options.model_fields[name]
    low, high = bounds_of(field)
    return typer.Option(min=low, max=high, help=f"{field.description}.", **more)


MOST_PROCESSES = 1024


def number_or_auto(option: str, text: str, least: int) -> int | None:
    """The value of an option that is a number of processes or `auto`; None: `auto`.

    Raises:
        UsageError: it is neither, or out of range.
    """
    if text == "auto":
        return None
    if text.isascii() and text.isdigit() and least <= int(text[:9]) <= MOST_PROCESSES:
        return int(text)
    raise UsageError(
        f"{option} must be auto or a whole number from {least} to {MOST_PROCESSES}, "
        f"but got {text!r}"
    )


def package_folder(named: str) -> Path:
    """Parse an argument that names a package. Raises ModelPackageError: there is none."""
    from service.package import shipped

    return shipped.package_folder(named)


def complete_package(incomplete: str) -> list[str]:
    """Complete a package for a shell."""
    from service.package import shipped

    return shipped.complete_package(incomplete)


PACKAGE_HELP = "A model package: a folder, or its name in models/."

Package = Annotated[
    Path,
    typer.Argument(
        metavar="PACKAGE",
        help=PACKAGE_HELP,
        parser=package_folder,
        autocompletion=complete_package,
    ),
]


def known_rate_of(text: str | None) -> Any:
    """The value of ``--known-rate``.

    Raises:
        UsageError: neither a number nor off.
    """
    return None if text is None else read_text("known_rate", text, Options.model_fields)


Model = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="The model package: a folder, or a name in models/; by default the shipped one.",
        autocompletion=complete_package,
    ),
]
Tta = Annotated[Mode | None, _option("tta")]
Aggregate = Annotated[Aggregation, _option("aggregate")]
Coverage = Annotated[float | None, _option("coverage")]
GateCost = Annotated[float | None, _option("gate_cost")]
KnownRate = Annotated[
    str | None,
    typer.Option(metavar="RATE", help=f"{Options.model_fields['known_rate'].description}."),
]
Box = Annotated[
    list[str] | None,
    typer.Option(
        metavar="L,T,R,B[,flip]",
        help="With --tta custom: the left, top, right and bottom edge of a crop, as fractions of "
        "the image; flip: mirrored. Repeat it for more crops.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
TopK = Annotated[int, typer.Option(min=1, help="How many of the likeliest classes to list.")]
Precision = Annotated[
    Literal["auto", "fp32", "fp16", "int8"],
    typer.Option(help="The precision of the graph that runs; auto: the fastest on this machine."),
]
Provider = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option(help="Where inference runs; auto: on the GPU if it can be used."),
]

Threads = Annotated[int, typer.Option(min=0, help="ONNX Runtime threads; 0: one for each core.")]
