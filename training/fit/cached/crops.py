"""Where the crops of a batch lie: random ones for training, centred ones as in serving."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.inference.image.geometry import Size, centre_box, fitted
from service.package.manifest import Fit
from training.fit.item_crop import ItemCrop

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
ATTEMPTS = 10


@dataclass(frozen=True)
class Crops:
    """Rectangles of stored images, in their pixels: left, top, right, bottom, [N, 4].

    `bounds` are the pixels that a resized crop may be made of, as whole numbers. A crop that is cut
    first and then resized ends at its own border. A crop of a resized image does not.
    """

    boxes: Floats
    bounds: Integers
    flips: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.boxes)


def random_boxes(
    sizes: Integers, min_scale: float, ratio: tuple[float, float], rng: np.random.Generator
) -> Integers:
    """Random crops of images of `sizes` (height, width), by the rules of fastai's
    `RandomResizedCrop`: left, top, right and bottom in whole pixels, [N, 4].

    A crop has a share of the area from `min_scale` to 1 and a ratio of width to height in `ratio`,
    drawn until it fits, ten times at most. Otherwise it is the largest centred crop in `ratio`.
    """
    height, width = sizes[:, 0].astype(float), sizes[:, 1].astype(float)
    count = len(sizes)
    area = rng.uniform(min_scale, 1, (ATTEMPTS, count)) * (height * width)
    drawn = np.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1]), (ATTEMPTS, count)))
    widths, heights = np.rint(np.sqrt(area * drawn)), np.rint(np.sqrt(area / drawn))
    fits = (widths <= width) & (heights <= height)
    first = fits.argmax(axis=0), np.arange(count)
    found = fits[first]
    own = width / height
    largest_w = np.where(own > ratio[1], np.floor(height * ratio[1]), width)
    largest_h = np.where(own < ratio[0], np.floor(width / ratio[0]), height)
    crop_w = np.maximum(1, np.where(found, widths[first], largest_w))
    crop_h = np.maximum(1, np.where(found, heights[first], largest_h))
    left = np.where(found, rng.integers(0, width - crop_w + 1), (width - crop_w) // 2)
    top = np.where(found, rng.integers(0, height - crop_h + 1), (height - crop_h) // 2)
    return np.stack([left, top, left + crop_w, top + crop_h], axis=1).astype(np.int64)


def training_crops(
    full: Integers, stored: Integers, crop: ItemCrop, flip: bool, rng: np.random.Generator
) -> Crops:
    """Random crops, drawn in the pixels of the files and laid on the stored images.

    `full` and `stored` are heights and widths, [N, 2]. With `flip`, half of them are mirrored. A
    crop of a squashed image is drawn in a square.
    """
    fastai: Any = crop.transform()
    if crop.fit == "squash":
        full = np.repeat(full.max(axis=1, keepdims=True), 2, axis=1)
    drawn = random_boxes(full, fastai.min_scale, fastai.ratio, rng)
    scale = (stored / full)[:, ::-1]
    boxes = np.minimum(drawn * np.tile(scale, 2), np.tile(stored[:, ::-1], 2))
    bounds = np.concatenate([np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:])], axis=1)
    flips = rng.random(len(full)) < 0.5 if flip else np.zeros(len(full), bool)
    return Crops(boxes, bounds.astype(np.int64), flips)


def served_crops(
    full: Integers, stored: Integers, crop_px: int, resize_px: int, fit: Fit = "shorter_side"
) -> Crops:
    """The centre crops of serving: images are resized to `resize_px`, then a square is cut."""
    boxes = np.empty((len(full), 4))
    for row, ((height, width), (stored_h, stored_w)) in enumerate(zip(full, stored, strict=True)):
        resized = fitted(Size(int(height), int(width)), resize_px, fit)
        box = centre_box(resized, crop_px)
        across, down = stored_w / resized.width, stored_h / resized.height
        boxes[row] = box.left * across, box.top * down, box.right * across, box.bottom * down
    boxes = np.minimum(boxes, np.tile(stored[:, ::-1], 2))
    reach = np.maximum(1, (boxes[:, 2:] - boxes[:, :2]) / crop_px)
    first = np.maximum(np.floor(boxes[:, :2] - reach), 0)
    last = np.minimum(np.ceil(boxes[:, 2:] + reach), stored[:, ::-1])
    bounds = np.concatenate([first, last], axis=1).astype(np.int64)
    return Crops(boxes, bounds, np.zeros(len(full), bool))
