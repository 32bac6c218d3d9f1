"""fastai DataLoaders over decoded images."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
from fastai.data.core import DataLoaders, TfmdDL
from fastai.torch_core import TensorImage
from fastai.vision.augment import aug_transforms
from fastai.vision.data import Normalize
from torch import Tensor

from training.data.dataset import Item, Split
from training.data.stats import IDENTITY, ChannelStats
from training.fit.cached.crops import Crops, Integers, served_crops, training_crops
from training.fit.cached.sources import PixelSource, Prepared, sent
from training.fit.item_crop import item_crop
from training.recipe import Recipe
from training.task import TRAINING_TASKS

T = TypeVar("T")
U = TypeVar("U")
CropsOf = Callable[[Integers, Integers, np.random.Generator], Crops]


class Batches:
    """Makes batches of one part of the data: the data set of a `CachedLoader`.

    `crops` gets the sizes of a batch's images: those in the files and those that are stored.
    """

    n_inp = 1

    def __init__(
        self,
        source: PixelSource,
        items: tuple[Item, ...],
        targets: Tensor,
        crops: CropsOf,
        out_px: int,
        stats: ChannelStats | None,
        split_idx: int,
    ) -> None:
        self.source, self.crops, self.out_px, self.split_idx = source, crops, out_px, split_idx
        used = stats or IDENTITY
        self.mean, self.std = (
            torch.tensor(values, device=source.device).view(1, 3, 1, 1) * 255
            for values in (used.mean, used.std)
        )
        self.rows = source.pixels.rows_of([item.path for item in items])
        self.targets = targets.to(source.device)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> int:
        return index

    def prepare(self, chosen: Integers, rng: np.random.Generator) -> tuple[Prepared, Integers]:
        """Draw the crops of some items, and read their pixels."""
        rows, pixels = self.rows[chosen], self.source.pixels
        crops = self.crops(pixels.full_sizes[rows], pixels.sizes[rows], rng)
        return self.source.prepare(rows, crops, self.out_px), chosen

    def finish(self, prepared: tuple[Prepared, Integers]) -> tuple[Tensor, Tensor]:
        """Inputs float32[N, 3, S, S], normalized by the statistics or in 0..1, and targets."""
        made, chosen = prepared
        inputs = made.finish().sub_(self.mean).div_(self.std)
        return inputs, self.targets[sent(torch.from_numpy(chosen), self.targets.device)]


class CachedLoader(TfmdDL):
    """Batches in the order that fastai draws; the crops of a batch are made at once.

    The crops come from a generator of their own, which every pass over the data seeds from NumPy's.
    So a thread that prepares batches ahead does not change what is drawn elsewhere.
    """

    def create_batches(self, samps: Iterable[int]) -> Iterator[tuple[Tensor, Tensor]]:
        made: Any = self.dataset
        chunks: Any = self.chunkify(samps)
        rng = np.random.default_rng(np.random.randint(2**32, size=4))
        chosen = (np.array(list(chunk), np.int64) for chunk in chunks)
        prepared = ahead(lambda indices: made.prepare(indices, rng), chosen, made.source.ahead)
        for one in prepared:
            yield self.typed(made.finish(one))

    def typed(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """fastai's transforms take its own type of tensor, which makes every step slower."""
        return (TensorImage(batch[0]), batch[1]) if self.after_batch.fs else batch


def ahead(work: Callable[[T], U], given: Iterable[T], depth: int) -> Iterator[U]:
    """`map`, with a thread that works up to `depth` items ahead. 0: no thread."""
    if depth == 0:
        yield from map(work, given)
        return
    items = iter(given)
    with ThreadPoolExecutor(1, "batches") as pool:
        waiting = deque(pool.submit(work, item) for item in islice(items, depth))
        while waiting:
            done = waiting.popleft().result()
            waiting.extend(pool.submit(work, item) for item in islice(items, 1))
            yield done
        pool.shutdown(cancel_futures=True)


def cached_loaders(
    source: PixelSource, split: Split, recipe: Recipe, size_px: int, stats: ChannelStats | None
) -> DataLoaders:
    """DataLoaders of `size_px` crops: train augmented, calibration cropped as in serving."""
    crop = item_crop(recipe, size_px)
    presized = recipe.augment == "presize"
    resize_px = round(size_px * recipe.resize_px / recipe.crop_px)
    augment: list[Any] = []
    targets = TRAINING_TASKS[split.task].targets
    if presized:
        augment += aug_transforms(size=size_px, min_scale=recipe.min_scale)
        if stats is not None:
            augment.append(Normalize.from_stats(stats.mean, stats.std, cuda=False))

    def random(full: Integers, stored: Integers, rng: np.random.Generator) -> Crops:
        return training_crops(full, stored, crop, not presized, rng)

    def served(full: Integers, stored: Integers, _: np.random.Generator) -> Crops:
        return served_crops(full, stored, size_px, resize_px, recipe.fit)

    def batches(items: tuple[Item, ...], crops: CropsOf, out_px: int, split_idx: int) -> Batches:
        own = None if augment and not split_idx else stats  # normalized after augmentation
        return Batches(source, items, targets(split.classes, items), crops, out_px, own, split_idx)

    train = batches(split.train, random, crop.side_px, 0)
    calibration = batches(split.calibration, served, size_px, 1)
    size = recipe.batch_images
    return DataLoaders(
        CachedLoader(
            train, bs=size, shuffle=True, drop_last=True, num_workers=0, after_batch=augment
        ),
        CachedLoader(calibration, bs=size, num_workers=0),
        device=source.device,
    )


def class_targets(classes: Sequence[str], items: Sequence[Item]) -> Tensor:
    """The index of every item's class: int64[N]."""
    places = {name: place for place, name in enumerate(classes)}
    return torch.tensor([places[item.label] for item in items], dtype=torch.int64)


def labels_targets(classes: Sequence[str], items: Sequence[Item]) -> Tensor:
    """1 for every class that an item shows, else 0: float32[N, K]."""
    rows = [[float(name in item.labels) for name in classes] for item in items]
    return torch.tensor(rows).reshape(-1, len(classes))
