"""The crop that is cut out of each file for training, and how many pixels of the file it needs."""

import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from fastai.vision.all import RandomResizedCrop, fastuple

from service.inference.image.geometry import LeastSize
from training.data.cache.storing import ScaledLeastSize
from training.recipe import Recipe

PRESIZE_MIN_SCALE = 0.35


class SquashedCrop(RandomResizedCrop):
    """fastai's `RandomResizedCrop` of an image that was squashed to a square.

    A crop of the square is a rectangle of the image, which is cut and resized at once. Validation
    squashes the whole image to `whole_px` and cuts the centre, as serving does.
    """

    def __init__(self, side_px: int, min_scale: float, whole_px: int) -> None:
        super().__init__(side_px, min_scale=min_scale)
        self.whole_px = whole_px

    def before_call(self, b: Any, split_idx: int | None) -> None:
        image = b[0] if isinstance(b, tuple) else b
        width, height = image.size
        side = max(width, height)
        super().before_call(SimpleNamespace(size=(side, side)), split_idx)
        self.orig_sz = fastuple(width, height)
        if split_idx:
            self.cp_size, self.final_size = self.orig_sz, (self.whole_px, self.whole_px)
            return
        (left, top), (across, down) = self.tl, self.cp_size
        x, y = round(left * width / side), round(top * height / side)
        right, bottom = (left + across) * width / side, (top + down) * height / side
        self.tl = x, y
        self.cp_size = max(1, round(right) - x), max(1, round(bottom) - y)


@dataclass(frozen=True)
class ItemCrop:
    """A random part of an image, resized to a square.

    Training cuts at least `min_scale` of the image's area. Validation takes the whole image.
    """

    side_px: int
    min_scale: float
    whole_px: int | None = None
    """`fit: squash`: the side of the square that a validation image is squashed to. None: crops are
    cut out of the image's own shape."""

    def transform(self) -> RandomResizedCrop:
        """fastai's transform."""
        if self.whole_px is not None:
            return SquashedCrop(self.side_px, self.min_scale, self.whole_px)
        return RandomResizedCrop(self.side_px, min_scale=self.min_scale)

    def shorter_side_px(self) -> int:
        """The shorter side that an image must have so that no crop is enlarged."""
        crop: Any = self.transform()
        # The sides of a crop are sqrt(area * ratio) and sqrt(area / ratio).
        smallest = math.sqrt(self.min_scale * crop.ratio[0])
        validation_px = self.whole_px or (
            self.side_px + math.ceil(self.side_px * crop.val_xtra / 8) * 8
        )
        return max(math.ceil(self.side_px / smallest), validation_px)


def item_crop(recipe: Recipe, size_px: int) -> ItemCrop:
    """The crop of a stage whose batches have `size_px`.

    `presize` is the presizing of the fastai book: a large crop for each item on the CPU, then all
    other transforms in one interpolation over the whole batch.
    """
    presized = recipe.augment == "presize"
    side_px = recipe.presize_px if presized else size_px
    min_scale = PRESIZE_MIN_SCALE if presized else recipe.min_scale
    if recipe.fit == "shorter_side":
        return ItemCrop(side_px, min_scale)
    return ItemCrop(side_px, min_scale, round(side_px * recipe.resize_px / recipe.crop_px))


def least_size(recipe: Recipe, size_px: int) -> LeastSize | None:
    """How small training may decode a file; None: in full."""
    crop = item_crop(recipe, size_px)
    if recipe.decode == "exact" or crop.min_scale == 0:  # crops without a smallest size
        return None
    return ScaledLeastSize(crop.shorter_side_px(), recipe.decode_factor)
