"""One network from several runs: the mean of their weights (Wortsman et al., arXiv:2203.05482).

If one network continues the training of another, both lie in the same basin of the loss. The middle
of a basin generalizes better than its edge (Izmailov et al., arXiv:1803.05407). No run had the mean
weights, so the statistics of batch normalization are measured again on training images.
"""

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from service.errors import DataError, UsageError
from training.data.dataset import Split, readable, split
from training.data.stats import ChannelStats
from training.fit.learner import learner
from training.fit.loaders import dataloaders
from training.fit.multi_scale import at_a_size
from training.fit.seeding import seed_all
from training.network.batch_statistics import remeasure
from training.network.initial_weights import of_run
from training.recipe import Recipe
from training.run import checkpoint
from training.run.checkpoint import Checkpoint

STATISTICS_IMAGES = 4096


def average(
    runs: Sequence[Path],
    data: Path,
    out: Path,
    *,
    images: int = STATISTICS_IMAGES,
    workers: int = 0,
    log: Callable[[str], None] = print,
) -> Path:
    """Write the mean of `runs` to the run folder `out`, with the recipe of the last of them.

    The statistics of batch normalization come from about `images` augmented training images.

    Raises:
        UsageError: fewer than two runs, `out` holds a run, or the runs are of different networks.
        DataError: a folder without a checkpoint, or other data than they were trained on.
    """
    if len(runs) < 2:
        raise UsageError(f"a mean needs at least two runs, but got {len(runs)}")
    if (out / checkpoint.STATE).exists():
        raise UsageError(f"{out} holds a run: name another folder")
    states = [checkpoint.load(run) for run in runs]
    for run, state in zip(runs[:-1], states[:-1], strict=True):
        _check_alike(run, state, runs[-1], states[-1])
    facts = states[-1].facts
    recipe = Recipe.from_json(facts["recipe"])
    items = readable(split(data, recipe), log)
    if items.fingerprint() != facts["fingerprint"]:
        raise DataError(f"{data} is not the data that {runs[-1]} was trained on")
    for run, state in zip(runs[:-1], states[:-1], strict=True):
        _check_split(run, Recipe.from_json(state.facts["recipe"]), runs[-1], items, data)
    seed_all(recipe.seed, 0)
    learn = _learner(recipe, items, facts, workers)
    learn.model.load_state_dict(mean([state.weights for state in states]))
    batches = -(-images // recipe.batch_images)
    shown = (batch for batch, *_ in islice(learn.dls.train, batches))
    sized = (at_a_size(batch, recipe.batch_sizes_px) for batch in shown)
    remeasure(learn.model, sized, batches)
    loss, accuracy = (float(value) for value in learn.validate()[:2])
    averaged = {
        "runs": [of_run(run, state.facts) for run, state in zip(runs, states, strict=True)],
        "statistics_images": images,
        "calibration_loss": loss,
        "calibration_accuracy": accuracy,
    }
    weights = learn.model.state_dict()
    checkpoint.save(out, Checkpoint(weights, {}, {**facts, "averaged": averaged}))
    log(f"mean of {len(runs)} runs: calibration loss {loss:.4f}, accuracy {accuracy:.4f}")
    return out


def mean(weights: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The mean of every floating-point tensor. Counts come from the last run."""
    return {
        key: torch.stack([one[key].double() for one in weights]).mean(0).to(last.dtype)
        if last.is_floating_point()
        else last
        for key, last in weights[-1].items()
    }


def _check_alike(run: Path, state: Checkpoint, last: Path, wanted: Checkpoint) -> None:
    for key in ("classes", "fingerprint", "normalization"):
        if state.facts[key] != wanted.facts[key]:
            raise UsageError(
                f"{run} and {last} differ in their {key}, so their mean is meaningless"
            )
    ours = {key: value.shape for key, value in state.weights.items()}
    if ours != {key: value.shape for key, value in wanted.weights.items()}:
        raise UsageError(f"{run} and {last} are of different architectures")


def _check_split(run: Path, recipe: Recipe, last: Path, items: Split, data: Path) -> None:
    """Refuse a run that was trained on images that the last run held out: the mean knows them."""
    trained = {item.path for item in split(data, recipe).train}
    if known := [item.path for item in items.calibration if item.path in trained]:
        raise UsageError(
            f"{run} was trained on {len(known)} of the {len(items.calibration)} images that {last} "
            "holds out, so the mean cannot be calibrated on them: average runs of the same "
            "calibration_share and split_seed"
        )


def _learner(recipe: Recipe, items: Split, facts: dict[str, Any], workers: int) -> Any:
    stage = recipe.stages[-1]
    saved = ChannelStats.from_json(facts["normalization"])
    stats = None if saved.source == "none" else saved
    loaders = dataloaders(items, recipe, stage.size_at(stage.epochs - 1), stats, workers)
    return learner(recipe, loaders, len(items.classes), pretrained=False, task=items.task)
