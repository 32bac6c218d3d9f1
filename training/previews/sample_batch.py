"""One training batch for people to look at: pixels, and the label of each image."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastai.learner import Learner
from numpy.typing import NDArray
from torch import nn

from service.package.labels import distinct_names
from training.data.dataset import Split, readable, split
from training.data.labels import labels
from training.fit import mixers
from training.fit.batch_size import fit_to_data
from training.fit.loaders import dataloaders
from training.fit.losses import loss_of
from training.fit.seeding import seed_all, seed_loaders
from training.fit.train import channel_stats
from training.network.initial_weights import InitialWeights
from training.recipe import Recipe
from training.task import TRAINING_TASKS


@dataclass(frozen=True)
class Sample:
    """One image of a batch, uint8[S, S, 3], and its label; if it was mixed, both labels."""

    pixels: NDArray[np.uint8]
    label: str


@dataclass(frozen=True)
class Batch:
    """A batch, and the statistics of the network's input numbers."""

    samples: list[Sample]
    mean: float
    std: float
    normalization: str


def sample_batch(
    data: Path,
    recipe: Recipe,
    *,
    initial: InitialWeights | None = None,
    log: Callable[[str], None] = print,
) -> Batch:
    """The first training batch of the recipe's first stage, augmented and mixed.

    Raises:
        DataError: the data cannot be trained on, or has fewer images than one batch.
    """
    images = readable(split(data, recipe), log)  # without broken files, as in training
    recipe = fit_to_data(recipe, len(images.train), log)
    log(f"{len(images.train)} training images of {len(images.classes)} classes")
    stats = channel_stats(recipe, images, initial)
    used = None if stats.source == "none" else stats
    loaders = dataloaders(images, recipe, recipe.stages[0].size_at(0), used)
    seed_all(recipe.seed, 1)
    seed_loaders(loaders, recipe.seed, 0)
    inputs, shares = _mixed(loaders, recipe, images)
    names = distinct_names(labels(images.classes, data))
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (stats.mean, stats.std))
    pixels = ((inputs * std + mean) * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1)
    samples = [
        Sample(image.numpy(), describe(share, names))
        for image, share in zip(pixels, shares, strict=True)
    ]
    return Batch(samples, float(inputs.mean()), float(inputs.std()), stats.source)


def describe(shares: dict[int, float], names: list[str]) -> str:
    """A label such as ``0.3 church + 0.7 gas pump``; a single class is its name.

    In multi-label data several classes may have the full share, or none.
    """
    parts = {index: share for index, share in shares.items() if round(share, 1) > 0}
    if not parts:
        return "none"
    if len(parts) == 1 or min(parts.values()) == 1:
        return " + ".join(names[index] for index in parts)
    return " + ".join(f"{share:.1f} {names[index]}" for index, share in parts.items())


def _mixed(
    loaders: Any, recipe: Recipe, images: Split
) -> tuple[torch.Tensor, list[dict[int, float]]]:
    """A batch after the mixer, and for each image the share of each of its classes."""
    made = mixers.mixer(recipe)
    loss = loss_of(recipe, images.task)
    learn: Any = Learner(loaders, nn.Identity(), loss_func=loss, cbs=made)
    learn.epoch, learn.training, learn.dl = 0, True, loaders.train
    learn._split(next(iter(loaders.train)))
    for mixer in made:  # the events of a fit, up to the call of the network
        mixer("before_train")
        mixer("before_batch")
    inputs = torch.as_tensor(learn.xb[0]).detach().cpu().float()
    return inputs, TRAINING_TASKS[images.task].target_shares(learn, made)


def mixed_labels(learn: Any, _: Sequence[Any]) -> list[dict[int, float]]:
    """The shares in a batch of multi-label targets. A mixer has mixed the targets themselves."""
    return [dict(enumerate(target.tolist())) for target in learn.yb[0].cpu()]


def mixed_classes(learn: Any, made: Sequence[Any]) -> list[dict[int, float]]:
    """The shares in a batch of class indices. A mixer holds the other index and its share."""
    own = [int(index) for index in learn.yb[0]]
    if not made:
        return [{index: 1.0} for index in own]
    mixer = made[0]
    kept = torch.as_tensor(mixer.lam).float().flatten().cpu().expand(len(own))
    shares: list[dict[int, float]] = []
    for index, other, share in zip(own, mixer.yb1[0], kept.tolist(), strict=True):
        both = {index: share}
        both[int(other)] = both.get(int(other), 0.0) + 1 - share
        shares.append(both)
    return shares
