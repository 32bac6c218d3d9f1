"""Options that several commands of `quincunx bench` take, each defined once."""

from pathlib import Path
from typing import Annotated

import typer

Modes = Annotated[
    str,
    typer.Option(
        "--tta",
        metavar="MODE,MODE,…",
        help="Modes, separated by commas. auto: none, five_crop, dense and the package's default "
        "mode. `bench latency` always adds none, the single crop.",
    ),
]
Images = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="A folder of your own photos; by default JPEGs are drawn."),
]
ImageSize = Annotated[
    str | None,
    typer.Option(
        metavar="WIDTHxHEIGHT",
        help="Size of the drawn JPEGs in pixels, by default 500x375; photos of --images are "
        "enlarged to it; 4032x3024 is a photo of a phone.",
    ),
]
Seed = Annotated[int, typer.Option(help="Seed of every random choice.")]
Out = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Write results.json, report.md, report.html and plots."),
]
NoPlots = Annotated[bool, typer.Option("--no-plots", help="With --out: write no plots.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print everything as JSON.")]
