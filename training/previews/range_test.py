"""The learning-rate range test: one short fit, whose learning rate grows with every batch."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastai.callback.schedule import minimum, steep, valley

from service.listing.skipped import Skipped
from training.data.dataset import readable, split
from training.fit.batch_size import fit_to_data
from training.fit.cached.keeping import CACHE_OFF, CacheOptions, keep
from training.fit.train import Run, channel_stats
from training.network.initial_weights import InitialWeights
from training.recipe import Recipe

SUGGESTIONS = (valley, minimum, steep)


@dataclass(frozen=True)
class RangeTest:
    """The tried rates, the smoothed loss at each, and the suggestions of fastai's rules.

    `minimum` is a tenth of the rate with the lowest loss. `steep` is the rate where the loss falls
    fastest. `valley` is the middle of the longest descent.
    """

    rates: list[float]
    losses: list[float]
    suggestions: dict[str, float]
    skipped: Skipped


def range_test(
    data: Path,
    recipe: Recipe,
    scratch: Path,
    *,
    initial: InitialWeights | None = None,
    steps: int = 100,
    workers: int = 0,
    cache: CacheOptions = CACHE_OFF,
    log: Callable[[str], None] = print,
) -> RangeTest:
    """Run the test at the first stage's size. `scratch` holds the weights to restore afterwards.

    With `cache`, files are decoded once, for the next run too: see `training.fit.cached`.

    Raises:
        DataError: the data cannot be trained on, or has fewer images than one batch.
    """
    found = split(data, recipe)
    kept, decoded = keep(cache, recipe, found, data, None, log)
    images = readable(found, log, decoded.broken(found.paths()) if decoded else None)
    recipe = fit_to_data(recipe, len(images.train), log)
    stats = channel_stats(recipe, images, initial, decoded)
    run = Run(recipe, images, stats, scratch, None, initial, workers, log, kept=kept)
    learn: Any = run.learn
    learn.path = scratch
    suggested = learn.lr_find(num_it=steps, suggest_funcs=SUGGESTIONS, show_plot=False)
    kept = slice(steps // 10, -5)  # fastai's rules leave out the divergence at the end
    return RangeTest(
        rates=[float(rate) for rate in learn.recorder.lrs[kept]],
        losses=[float(loss) for loss in learn.recorder.losses[kept]],
        suggestions={name: float(rate) for name, rate in suggested._asdict().items()},
        skipped=images.skipped,
    )
