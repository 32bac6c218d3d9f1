"""Sizes and interpolation of a Learner's validation images, read from its transforms."""

import math
from dataclasses import dataclass, replace
from typing import Any

from fastai.data.transforms import IntToFloatTensor, Normalize, ToTensor
from fastai.torch_basics import compose_tfms
from fastai.vision.augment import (
    AffineCoordTfm,
    CropPad,
    RandomCrop,
    RandomResizedCrop,
    RandomResizedCropGPU,
    Resize,
)
from fastai.vision.core import PILImage

from service.errors import ImportRefused
from service.inference.image.views import Pixels
from service.package.manifest import Fit, Interpolation

FILTERS: dict[int, Interpolation] = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers."""
PLAIN = (ToTensor, IntToFloatTensor, Normalize)
OTHER_FILTER = "bilinear"


@dataclass(frozen=True)
class Preprocessing:
    """How a validation image becomes the network's input; None if no transform says it."""

    crop_px: int | None = None
    resize_px: int | None = None
    interpolation: Interpolation | None = None
    fit: Fit | None = None
    notes: tuple[str, ...] = ()

    def noting(self, text: str) -> "Preprocessing":
        return replace(self, notes=(*self.notes, text))

    def fitting(self, fit: Fit) -> "Preprocessing":
        """The first transform decides: what follows gets a square."""
        return replace(self, fit=self.fit or fit)


def preprocessing(dls: Any) -> Preprocessing:
    """Read `Resize`, `RandomResizedCrop` and the size of `aug_transforms` for validation images.

    A batch transform with a size scales what the item transforms made. Both sides then scale alike.

    Raises:
        ImportRefused: images that are not square.
    """
    found = Preprocessing()
    for step in dls.valid.after_item.fs:
        found = _item(step, found)
    for step in dls.valid.after_batch.fs:
        found = _batch(step, found)
    return found


def own(dls: Any, photo: Pixels) -> Any:
    """What the validation transforms make of a photo: float32[3, S, S], normalized."""
    # A tuple goes in and comes out, which fastai's types do not say.
    single: Any = (PILImage.create(photo),)
    image: Any = compose_tfms(single, dls.valid.after_item.fs, split_idx=1)[0]
    single = (image[None].to(dls.device),)
    batch: Any = compose_tfms(single, dls.valid.after_batch.fs, split_idx=1)[0]
    return batch[0]


def _item(step: Any, found: Preprocessing) -> Preprocessing:
    kind, values = type(step).__name__, step  # isinstance would narrow the type of `step`
    if isinstance(step, Resize):
        side = _side(values.size, kind)
        found = replace(found, crop_px=side, resize_px=side)
        found = _with_filter(found, values)
        if values.method == "pad" and found.fit is None:
            found = found.noting(
                "the Learner's Resize pads images to a square; the package cannot pad images"
            )
        return found.fitting("squash" if values.method == "squish" else "shorter_side")
    if isinstance(step, RandomResizedCrop):
        side = _side(values.size, kind)
        more = math.ceil(side * values.val_xtra / 8) * 8  # as fastai computes it
        found = _with_filter(replace(found, crop_px=side, resize_px=side + more), values)
        return found.fitting("squash")  # fastai squashes validation images, then cuts the centre
    if isinstance(step, (CropPad, RandomCrop)):
        side = _side(values.size, kind)
        if found.resize_px is not None:
            return replace(found, crop_px=side, resize_px=max(side, found.resize_px))
        return found.noting(f"{kind} cuts {side} px out of images of any size; name resize_px")
    return _other(step, found)


def _batch(step: Any, found: Preprocessing) -> Preprocessing:
    name = "size" if isinstance(step, RandomResizedCropGPU) else "cp_size"
    size = getattr(step, name, None)
    if size is None:
        return _other(step, found)
    side = _side(size if not isinstance(size, int) else (size, size), type(step).__name__)
    shown = getattr(step, "valid_scale", 1.0)  # the share of each side that is cut out
    if found.crop_px is None or found.resize_px is None:
        whole_px = round(side / shown)
        return replace(found, crop_px=side, resize_px=whole_px, interpolation=OTHER_FILTER)
    resize_px = max(side, round(found.resize_px * side / found.crop_px / shown))
    return replace(found, crop_px=side, resize_px=resize_px)


def _other(step: Any, found: Preprocessing) -> Preprocessing:
    """Transforms of training only do not concern a package; others are named."""
    trains_only = getattr(step, "split_idx", None) == 0 or isinstance(step, AffineCoordTfm)
    if isinstance(step, PLAIN) or trains_only:
        return found
    return found.noting(f"the Learner's transform {type(step).__name__} is not in the package")


def _with_filter(found: Preprocessing, step: Any) -> Preprocessing:
    filter_ = FILTERS.get(int(step.resamples[0]))
    return replace(found, interpolation=filter_)


def _side(size: Any, kind: str) -> int:
    sides = [int(side) for side in size[:2]]
    if len(set(sides)) != 1:
        raise ImportRefused(
            f"the Learner's {kind} makes images of {sides[0]}×{sides[1]} px; a package's crops "
            "are square: train with a square size, or use quincunx.export_module"
        )
    return sides[0]
