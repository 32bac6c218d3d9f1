"""The crop that is cut out of each file for training, and how many pixels of the file it needs."""

import math
from dataclasses import dataclass
from typing import Any

from fastai.vision.all import RandomResizedCrop

from service.inference.image.geometry import LeastSize
from training.data.cache.storing import ScaledLeastSize
from training.recipe import Recipe

PRESIZE_MIN_SCALE = 0.35


@dataclass(frozen=True)
class ItemCrop:
    """A random part of an image, resized to a square.

    Training cuts at least `min_scale` of the image's area. Validation takes the whole image.
    """

    side_px: int
    min_scale: float

    def transform(self) -> RandomResizedCrop:
        """fastai's transform."""
        return RandomResizedCrop(self.side_px, min_scale=self.min_scale)

    def shorter_side_px(self) -> int:
        """The shorter side that an image must have so that no crop is enlarged."""
        crop: Any = self.transform()
        # The sides of a crop are sqrt(area * ratio) and sqrt(area / ratio).
        smallest = math.sqrt(self.min_scale * crop.ratio[0])
        validation_px = self.side_px + math.ceil(self.side_px * crop.val_xtra / 8) * 8
        return max(math.ceil(self.side_px / smallest), validation_px)


def item_crop(recipe: Recipe, size_px: int) -> ItemCrop:
    """The crop of a stage whose batches have `size_px`.

    `presize` is the presizing of the fastai book: a large crop for each item on the CPU, then all
    other transforms in one interpolation over the whole batch.
    """
    if recipe.augment == "presize":
        return ItemCrop(recipe.presize_px, PRESIZE_MIN_SCALE)
    return ItemCrop(size_px, recipe.min_scale)


def least_size(recipe: Recipe, size_px: int) -> LeastSize | None:
    """How small training may decode a file; None: in full."""
    crop = item_crop(recipe, size_px)
    if recipe.decode == "exact" or crop.min_scale == 0:  # crops without a smallest size
        return None
    return ScaledLeastSize(crop.shorter_side_px(), recipe.decode_factor)
