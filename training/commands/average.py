"""`quincunx average`: one run from several, the mean of their weights."""

from pathlib import Path
from typing import Annotated

import typer

from service.console.stdio import answer, log
from training.commands.options import Workers

app = typer.Typer()


@app.command()
def average(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN",
            help="Two or more folders of runs, each of which started from the weights of another. "
            "The result has the recipe of the last one.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="The run to write: runs/NAME.")],
    data: Annotated[
        Path, typer.Option(metavar="DATA", help="The images that the runs were trained on.")
    ],
    images: Annotated[
        int, typer.Option(min=1, help="Training images for batch normalization's statistics.")
    ] = 4096,
    workers: Workers = 0,
) -> None:
    """Average the weights of runs, for example of a run and of a second run that continued it.

    Export the result like any run: quincunx export RUN --out models/NAME --data DATA.
    """
    from training.data.named_data import located
    from training.fit.average import average as mean_of

    answer(mean_of(runs, located(data), out, images=images, workers=workers, log=log))
