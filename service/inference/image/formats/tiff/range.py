"""Which samples of a TIFF are black and white, if their type does not define it."""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.errors import BadImage
from service.inference.image.formats.ifd import Directory, Number
from service.inference.image.formats.tiff.layout import FLOAT, UNSIGNED, Layout, Tag

HALF_LEVEL = 0.5 / 255
"""How far floats may lie outside 0 to 1. This does not change the eighth bit."""

_NO_LIMIT = 1e30
_IMAGEJ = re.compile(rb"^(min|max)=([-+0-9.eE]+)\s*$", re.M)


class Range(NamedTuple):
    """The samples that become 0 and 255: float64[samples of a pixel] each."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]


def has_own_range(layout: Layout) -> bool:
    """Whether the type of the samples is their range: unsigned, of at most 16 bits.

    By TIFF 6.0, MinSampleValue and MaxSampleValue do not change what such an image looks like.
    """
    return set(layout.formats) == {UNSIGNED} and max(layout.bits) <= 16


def read_range(directory: Directory, layout: Layout) -> Range | None:
    """The range in the tags of the file.

    It may be in SMinSampleValue and SMaxSampleValue, in the older tags without S, or in ImageJ's
    description.
    """
    for low_tag, high_tag in (
        (Tag.S_MIN_SAMPLE, Tag.S_MAX_SAMPLE),
        (Tag.MIN_SAMPLE, Tag.MAX_SAMPLE),
    ):
        low, high = directory.numbers(low_tag), directory.numbers(high_tag)
        if low and high and (found := _checked(_each(low, layout), _each(high, layout))):
            return found
    description = directory.text(Tag.DESCRIPTION) or b""
    if description.startswith(b"ImageJ="):
        named: dict[bytes, bytes] = dict(_IMAGEJ.findall(description))
        try:
            low, high = float(named[b"min"]), float(named[b"max"])
        except (KeyError, ValueError):
            return None
        return _checked(_each((low,), layout), _each((high,), layout))
    return None


def default_range(layout: Layout) -> Range:
    """0 to 1, the range in which programs write floats without tags.

    Raises:
        BadImage: the samples are integers, for which there is no such convention.
    """
    if FLOAT not in layout.formats:
        raise BadImage(_unknown(layout, f"{max(layout.bits)}-bit integers"))
    return Range(np.zeros(layout.samples), np.ones(layout.samples))


def check_default(low: float, high: float, layout: Layout) -> None:
    """Refuse floats without a tag that are not 0 to 1.

    Raises:
        BadImage: they reach further. Infinite ones do not count: they are black and white.
    """
    if low < -HALF_LEVEL or high > 1 + HALF_LEVEL:
        raise BadImage(
            _unknown(layout, f"{max(layout.bits)}-bit floats from {low:.6g} to {high:.6g}")
        )


def read_nodata(directory: Directory) -> float | None:
    """The value with which GDAL marks pixels without data."""
    try:
        return float((directory.text(Tag.GDAL_NODATA) or b"").decode("ascii").strip())
    except ValueError:
        return None


def _unknown(layout: Layout, samples: str) -> str:
    return (
        f"the TIFF holds {samples} and does not say which are black and white; it needs the tags "
        "SMinSampleValue and SMaxSampleValue, or samples of 8 or 16 bits, or floats from 0 to 1"
        + (" (and GDAL_NODATA for values that are no data)" if FLOAT in layout.formats else "")
    )


def _each(values: Sequence[Number], layout: Layout) -> NDArray[np.float64]:
    """A value for each sample; the file may have one for all."""
    filled = [*values, *[values[-1]] * layout.samples][: layout.samples]
    return np.array(filled, np.float64)


def _checked(low: NDArray[np.float64], high: NDArray[np.float64]) -> Range | None:
    """The range, if an image can have it: no statistics of a constant, no limits of a type."""
    limits = (*low.tolist(), *high.tolist())
    if not all(math.isfinite(one) and abs(one) < _NO_LIMIT for one in limits):
        return None
    return Range(low, high) if (low < high).all() else None
