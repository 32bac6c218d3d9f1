"""`quincunx show-batch`: a grid of images to check before training."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.console.stdio import answer, log
from training.commands.options import Backbone, Init, Overrides, RecipeName, TrainingData, Weights

if TYPE_CHECKING:
    from training.previews.sample_batch import Sample

app = typer.Typer()
COLUMNS = 4
TITLE_LETTERS = 60


@app.command()
def show_batch(
    data: TrainingData,
    recipe: RecipeName = "auto",
    backbone: Backbone = "",
    weights: Weights = "",
    out: Annotated[Path, typer.Option(metavar="FILE", help="The picture.")] = Path("batch.png"),
    images: Annotated[int, typer.Option(min=1, help="How many images of the batch.")] = 16,
    overrides: Overrides = None,
    init: Init = None,
) -> None:
    """Save a grid of training images as the network gets them: augmented and mixed.

    The picture shows them before normalization. The mean and standard deviation after it are
    printed.
    """
    from training.start.options import Options

    options = Options(recipe, overrides or [], init, backbone, weights)
    options.check()  # before torch is imported

    from training.data.named_data import located
    from training.previews.sample_batch import sample_batch
    from training.start.begin import begin

    data = located(data)
    beginning = begin(data, options, log)
    batch = sample_batch(data, beginning.recipe, initial=beginning.initial, log=log)
    _draw(batch.samples[:images], out)
    log(
        f"the network gets values of mean {batch.mean:.2f} and standard deviation {batch.std:.2f} "
        f"({batch.normalization})"
    )
    answer(out)


def _draw(samples: "list[Sample]", out: Path) -> None:
    from matplotlib.figure import Figure

    from training.data.captions import NO_MATHS, caption

    columns = min(COLUMNS, len(samples))
    rows = -(-len(samples) // columns)
    figure = Figure(figsize=(2.6 * columns, 2.8 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.axis("off")
    for axes, sample in zip(grid, samples, strict=False):
        axes.imshow(sample.pixels)
        axes.set_title(caption(sample.label, TITLE_LETTERS), fontsize=8, **NO_MATHS)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=120)
