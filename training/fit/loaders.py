"""From a scanned data set to fastai DataLoaders."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fastai.data.all import (
    CategoryBlock,
    DataBlock,
    DataLoaders,
    IndexSplitter,
    MultiCategoryBlock,
    TransformBlock,
)
from fastai.vision.all import (
    FlipItem,
    IntToFloatTensor,
    Normalize,
    PILImage,
    aug_transforms,
)

from service.inference.image.geometry import LeastSize
from training.data.dataset import Split
from training.data.pixels import pixels_of
from training.data.stats import ChannelStats
from training.fit.item_crop import item_crop, least_size
from training.recipe import Recipe
from training.task import TRAINING_TASKS


def load_image(path: Path, least_size: LeastSize | None = None) -> PILImage:
    """The pixels of a file as fastai's image, decoded as `least_size` says."""
    return PILImage.create(pixels_of(path, least_size))


def class_block(classes: Sequence[str]) -> TransformBlock:
    """Targets of images with one class each: its index."""
    return CategoryBlock(vocab=list(classes))


def labels_block(classes: Sequence[str]) -> TransformBlock:
    """Targets of images with any number of classes: 1 or 0 for each class."""
    return MultiCategoryBlock(encoded=True, vocab=list(classes))


def dataloaders(
    split: Split, recipe: Recipe, size_px: int, stats: ChannelStats | None, workers: int = 0
) -> DataLoaders:
    """DataLoaders of `size_px` crops: train augmented, calibration centred."""
    items = [*split.train, *split.calibration]
    item_transforms: list[Any] = [item_crop(recipe, size_px).transform()]
    batch_transforms: list[Any] = []
    if recipe.augment == "presize":
        batch_transforms += aug_transforms(size=size_px, min_scale=recipe.min_scale)
    else:
        item_transforms.append(FlipItem(0.5))
    load = partial(load_image, least_size=least_size(recipe, size_px))
    if stats is not None:
        batch_transforms.append(Normalize.from_stats(stats.mean, stats.std, cuda=False))
    task = TRAINING_TASKS[split.task]
    block = DataBlock(
        blocks=[
            TransformBlock(type_tfms=[load], batch_tfms=[IntToFloatTensor]),
            task.target_block(split.classes),
        ],
        get_x=lambda item: item.path,
        get_y=partial(task.target, split.classes),
        splitter=IndexSplitter(range(len(split.train), len(items))),
        item_tfms=item_transforms,
        batch_tfms=batch_transforms,
    )
    return block.dataloaders(items, bs=recipe.batch_images, num_workers=workers)
