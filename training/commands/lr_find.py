"""`quincunx lr-find`: Smith's range test on a recipe's network (arXiv:1506.01186)."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands.options import AsJson
from service.console.stdio import answer, log, print_json
from training.commands.options import (
    Backbone,
    Cache,
    CacheFolder,
    CacheLimit,
    CachePx,
    Init,
    Overrides,
    RecipeName,
    TrainingData,
    Weights,
    Workers,
)

if TYPE_CHECKING:
    from training.previews.range_test import RangeTest

app = typer.Typer()


@app.command()
def lr_find(
    data: TrainingData,
    recipe: RecipeName = "auto",
    backbone: Backbone = "",
    weights: Weights = "",
    out: Annotated[Path, typer.Option(metavar="FILE", help="The plot.")] = Path("lr-find.png"),
    overrides: Overrides = None,
    init: Init = None,
    cache: Cache = "auto",
    cache_folder: CacheFolder = Path("cache"),
    cache_limit: CacheLimit = 64,
    cache_px: CachePx = 0,
    steps: Annotated[int, typer.Option(min=20, help="How many batches to run.")] = 100,
    workers: Workers = 0,
    as_json: AsJson = False,
) -> None:
    """Suggest a learning rate: raise it with every batch, and find where the loss falls.

    It prints several suggestions. Try `valley` first.
    """
    from training.start.options import Options

    options = Options(recipe, overrides or [], init, backbone, weights)
    options.check()  # before torch is imported

    from training.data.named_data import located
    from training.fit.cached.keeping import CacheOptions
    from training.previews.range_test import range_test
    from training.start.begin import begin

    data = located(data)
    beginning = begin(data, options, log)
    with tempfile.TemporaryDirectory() as scratch:
        test = range_test(
            data,
            beginning.recipe,
            Path(scratch),
            initial=beginning.initial,
            cache=CacheOptions(cache, cache_folder, cache_limit, cache_px),
            steps=steps,
            workers=workers,
            log=log,
        )
    _plot(test, out)
    if as_json:
        print_json({"suggestions": test.suggestions, "plot": str(out), **test.skipped.facts()})
    else:
        for name, lr in test.suggestions.items():
            answer(f"{name:8} {lr:.2e}")
        log(f"plot: {out}")


def _plot(test: "RangeTest", out: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(test.rates, test.losses, color="#333333")
    for colour, (name, lr) in zip(
        ("#c0392b", "#2471a3", "#239b56"), test.suggestions.items(), strict=True
    ):
        axes.axvline(lr, color=colour, linestyle="--", label=f"{name} {lr:.1e}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss, smoothed")
    axes.legend()
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=120)
