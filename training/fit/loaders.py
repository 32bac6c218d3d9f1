"""From a scanned data set to fastai DataLoaders."""

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
    RandomResizedCrop,
    aug_transforms,
)

from training.data.dataset import Item, Split
from training.data.pixels import pixels_of
from training.data.stats import ChannelStats
from training.recipe import Recipe


def load_image(path: Path) -> PILImage:
    """The pixels of a file as fastai's image."""
    return PILImage.create(pixels_of(path))


def target(split: Split, item: Item) -> str | list[float]:
    """The class of an image. For multi-label data: 1 for every class that is present, else 0."""
    if split.task == "single_label":
        return item.label
    return [float(name in item.labels) for name in split.classes]


def dataloaders(
    split: Split, recipe: Recipe, size_px: int, stats: ChannelStats | None, workers: int = 0
) -> DataLoaders:
    """DataLoaders of `size_px` crops: train augmented, calibration centred."""
    items = [*split.train, *split.calibration]
    if recipe.augment == "presize":
        # The presizing of the fastai book: a large crop for each item on the CPU, then all other
        # transforms in one interpolation over the whole batch.
        item_transforms: list[Any] = [RandomResizedCrop(recipe.presize_px, min_scale=0.35)]
        batch_transforms = aug_transforms(size=size_px, min_scale=recipe.min_scale)
    else:
        item_transforms = [RandomResizedCrop(size_px, min_scale=recipe.min_scale), FlipItem(0.5)]
        batch_transforms = []
    if stats is not None:
        batch_transforms.append(Normalize.from_stats(stats.mean, stats.std, cuda=False))
    block = DataBlock(
        blocks=[
            TransformBlock(type_tfms=[load_image], batch_tfms=[IntToFloatTensor]),
            MultiCategoryBlock(encoded=True, vocab=list(split.classes))
            if split.task == "multi_label"
            else CategoryBlock(vocab=list(split.classes)),
        ],
        get_x=lambda item: item.path,
        get_y=partial(target, split),
        splitter=IndexSplitter(range(len(split.train), len(items))),
        item_tfms=item_transforms,
        batch_tfms=batch_transforms,
    )
    return block.dataloaders(items, bs=recipe.batch_images, num_workers=workers)
