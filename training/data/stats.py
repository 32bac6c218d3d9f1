"""Per-channel mean and standard deviation: ImageNet's, or the data set's own."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.inference.image.geometry import LeastSize
from training.data.pixels import pixels_of


@dataclass(frozen=True)
class ChannelStats:
    """Mean and standard deviation of R, G and B in units of 0..1, and where they came from."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    source: str

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "ChannelStats":
        return cls(tuple(data["mean"]), tuple(data["std"]), data["source"])


THREADS = 4
IMAGENET = ChannelStats((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "imagenet")
IDENTITY = ChannelStats((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "none")


def from_images(images: Iterable[NDArray[np.uint8]]) -> ChannelStats:
    """The statistics of every pixel of uint8[H, W, 3] images, exact, one image in memory."""
    count, sums, squares = 0, np.zeros(3), np.zeros(3)
    levels = np.arange(256, dtype=np.float64) / 255
    for image in images:
        count += image.shape[0] * image.shape[1]
        for channel in range(3):
            histogram = np.bincount(image[..., channel].ravel(), minlength=256)
            sums[channel] += histogram @ levels
            squares[channel] += histogram @ levels**2
    return _rounded(sums / count, squares / count)


def from_moments(count: int, sums: Sequence[int], squares: Sequence[int]) -> ChannelStats:
    """The statistics of `count` pixels, from the sums of their values 0..255 and their squares."""
    mean, square = (np.array(moment, np.float64) / count for moment in (sums, squares))
    return _rounded(mean / 255, square / 255**2)


def _rounded(mean: NDArray[np.float64], mean_square: NDArray[np.float64]) -> ChannelStats:
    std = np.sqrt(mean_square - mean**2)
    r, g, b = (round(float(value), 6) for value in mean)
    sr, sg, sb = (max(round(float(value), 6), 1e-6) for value in std)
    return ChannelStats((r, g, b), (sr, sg, sb), "dataset")


def from_files(paths: Iterable[Path], least_size: LeastSize | None = None) -> ChannelStats:
    """The statistics of every pixel of every file, decoded as `least_size` says.

    Raises:
        DataError: a file cannot be decoded.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        return from_images(pool.map(partial(pixels_of, least_size=least_size), paths))
