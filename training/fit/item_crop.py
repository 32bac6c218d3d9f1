"""The crop that is cut out of each file for training, and how many pixels of the file it needs."""

import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from fastai.vision.all import RandomResizedCrop, fastuple
from PIL import Image

from service.inference.image.geometry import LeastSize, Size, centre_box, fitted
from service.package.manifest import Fit
from training.data.cache.storing import ScaledLeastSize
from training.recipe import Recipe

PRESIZE_MIN_SCALE = 0.35


class ServedCrop(RandomResizedCrop):
    """fastai's `RandomResizedCrop`, with the view of serving for validation.

    Validation resizes the image to `whole_px` as `fit` says, and cuts the centre. With
    `fit: squash` a random crop is one of the image squashed to a square: a rectangle of the image,
    which is cut and resized at once.
    """

    def __init__(self, side_px: int, min_scale: float, whole_px: int, fit: Fit) -> None:
        super().__init__(side_px, min_scale=min_scale)
        self.side_px, self.whole_px = side_px, whole_px
        self.fit: Fit = fit

    def before_call(self, b: Any, split_idx: int | None) -> None:
        image = b[0] if isinstance(b, tuple) else b
        self.served = bool(split_idx)
        if self.served:
            return
        if self.fit == "shorter_side":
            super().before_call(b, split_idx)
            return
        width, height = image.size
        side = max(width, height)
        super().before_call(SimpleNamespace(size=(side, side)), split_idx)
        self.orig_sz = fastuple(width, height)
        (left, top), (across, down) = self.tl, self.cp_size
        x, y = round(left * width / side), round(top * height / side)
        right, bottom = (left + across) * width / side, (top + down) * height / side
        self.tl = x, y
        self.cp_size = max(1, round(right) - x), max(1, round(bottom) - y)

    def encodes(self, x: Image.Image) -> Any:  # fastai converts to the type that is named here
        return self._served(x) if self.served else super().encodes(x)

    def _served(self, image: Image.Image) -> Image.Image:
        """The centre crop of the resized image. Only the pixels of the crop are made."""
        size = fitted(Size(image.height, image.width), self.whole_px, self.fit)
        box = centre_box(size, self.side_px)
        across, down = image.width / size.width, image.height / size.height
        edges = (box.left * across, box.top * down, box.right * across, box.bottom * down)
        return image.resize((self.side_px, self.side_px), Image.Resampling.BILINEAR, edges)


@dataclass(frozen=True)
class ItemCrop:
    """A random part of an image, resized to a square.

    Training cuts at least `min_scale` of the image's area. Validation cuts the centre as serving
    does.
    """

    side_px: int
    min_scale: float
    whole_px: int
    """The side that a validation image is resized to, before its centre is cut."""
    fit: Fit = "shorter_side"

    def transform(self) -> ServedCrop:
        """fastai's transform."""
        return ServedCrop(self.side_px, self.min_scale, self.whole_px, self.fit)

    def shorter_side_px(self) -> int:
        """The shorter side that an image must have so that no crop is enlarged."""
        crop: Any = self.transform()
        # The sides of a crop are sqrt(area * ratio) and sqrt(area / ratio).
        smallest = math.sqrt(self.min_scale * crop.ratio[0])
        return max(math.ceil(self.side_px / smallest), self.whole_px)


def item_crop(recipe: Recipe, size_px: int) -> ItemCrop:
    """The crop of a stage whose batches have `size_px`.

    `presize` is the presizing of the fastai book: a large crop for each item on the CPU, then all
    other transforms in one interpolation over the whole batch.
    """
    presized = recipe.augment == "presize"
    side_px = recipe.presize_px if presized else size_px
    min_scale = PRESIZE_MIN_SCALE if presized else recipe.min_scale
    whole_px = round(side_px * recipe.resize_px / recipe.crop_px)
    return ItemCrop(side_px, min_scale, whole_px, recipe.fit)


def least_size(recipe: Recipe, size_px: int) -> LeastSize | None:
    """How small training may decode a file; None: in full."""
    crop = item_crop(recipe, size_px)
    if recipe.decode == "exact" or crop.min_scale == 0:  # crops without a smallest size
        return None
    return ScaledLeastSize(crop.shorter_side_px(), recipe.decode_factor)
