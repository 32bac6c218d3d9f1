"""TIFF samples of any type to 8 bits."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.errors import BadImage, UnsupportedImage
from service.inference.image.formats.ifd import Directory
from service.inference.image.formats.tiff.layout import (
    ASSOCIATED_ALPHA,
    BLACK_IS_ZERO,
    FLOAT,
    RGB,
    WHITE_IS_ZERO,
    Layout,
)
from service.inference.image.formats.tiff.range import (
    Range,
    check_default,
    default_range,
    has_own_range,
    read_nodata,
    read_range,
)
from service.inference.image.formats.tiff.samples import Samples
from service.inference.image.levels import grey_table
from service.inference.image.limits import Limits
from service.inference.image.rows import BACKGROUND, Picture, steps


def open_samples(data: bytes, directory: Directory, layout: Layout, limits: Limits) -> Picture:
    """Unpack the samples of an image, and find out which of them are black and white.

    Raises:
        BadImage: the file does not say it, or no pixel holds data.
        TooLarge: the samples take too much memory.
        UnsupportedImage: they are no grey and no RGB, or stored in a way that is not known here.
    """
    colours = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3}.get(layout.photometric, 0)
    beyond = layout.samples - colours
    named = len(layout.extra) or (1 if layout.alpha else 0)
    if not colours or beyond != named or (colours == 1 and beyond > 1):
        raise UnsupportedImage(f"the image is a TIFF of {layout.describe()}, which is not decoded")
    if has_own_range(layout):
        return Narrow(Samples(data, directory, layout, limits), colours)
    said = read_range(directory, layout)
    span = said or default_range(layout)
    picture = Wide(Samples(data, directory, layout, limits), colours, span, read_nodata(directory))
    if picture.is_empty(limits):
        raise BadImage("the TIFF holds no data: every pixel is NaN or the value of GDAL_NODATA")
    if said is None:
        check_default(*picture.extremes(limits), layout)
    return picture


class Narrow:
    """Unsigned samples of 9 to 16 bits: grey by a table, colours by their upper 8 bits."""

    def __init__(self, samples: Samples, colours: int) -> None:
        self._samples, self._colours = samples, colours
        self.size = samples.layout.size
        self._bits = samples.layout.bits[0]
        self._table = grey_table(self._bits, inverted=samples.layout.photometric == WHITE_IS_ZERO)

    def rows(self, top: int, bottom: int) -> Image.Image:
        """Some rows, mode L, RGB or RGBA."""
        values = self._samples.rows(top, bottom)
        alpha = self._samples.layout.alpha
        if self._colours == 1:
            grey = self._table[values[..., 0]]
            if alpha is None:
                return Image.fromarray(grey)
            colours = np.repeat(grey[..., None], 3, axis=2)
        else:
            colours = (values[..., :3] >> (self._bits - 8)).astype(np.uint8)  # type: ignore[operator]
            if alpha is None:
                return Image.fromarray(colours)
        opacity = (values[..., self._colours] >> (self._bits - 8)).astype(np.uint8)  # type: ignore[operator]
        packed = np.dstack([colours, opacity]).tobytes()
        raw_mode = "RGBa" if alpha == ASSOCIATED_ALPHA else "RGBA"
        return Image.frombytes("RGBA", (self.size[0], bottom - top), packed, "raw", raw_mode)


class Wide:
    """Samples whose type is not a range: float, signed, or of more than 16 bits."""

    def __init__(self, samples: Samples, colours: int, span: Range, nodata: float | None) -> None:
        self._samples, self._colours, self._span, self._nodata = samples, colours, span, nodata
        self.size = samples.layout.size

    def rows(self, top: int, bottom: int) -> Image.Image:
        """Some rows, mode L or RGB. Pixels without data and transparent ones are white."""
        colours = self._colours
        values = self._samples.rows(top, bottom).astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = (values - self._span.low) / (self._span.high - self._span.low)
            shades = scaled[..., :colours]
            if self._samples.layout.photometric == WHITE_IS_ZERO:
                shades = 1 - shades
            if (alpha := self._samples.layout.alpha) is not None:
                opacity = scaled[..., colours : colours + 1].clip(0, 1)
                shades = shades * (1 if alpha == ASSOCIATED_ALPHA else opacity) + 1 - opacity
            levels = shades * 255
        levels[self._empty(values)] = BACKGROUND[0]
        picture = levels.clip(0, 255).astype(np.uint8)
        return Image.fromarray(picture[..., 0] if colours == 1 else picture)

    def is_empty(self, limits: Limits) -> bool:
        """Whether no pixel holds data. It reads as far as the first rows that hold some."""
        for top, bottom in steps(self.size):
            limits.clock.check()
            if not self._empty(self._samples.rows(top, bottom).astype(np.float64)).all():
                return False
        return True

    def extremes(self, limits: Limits) -> tuple[float, float]:
        """The lowest and the highest finite colour."""
        low, high = 0.0, 0.0
        for top, bottom in steps(self.size):
            limits.clock.check()
            values = self._samples.rows(top, bottom).astype(np.float64)
            seen = values[..., : self._colours][~self._empty(values)]
            seen = seen[np.isfinite(seen)]
            if seen.size:
                low, high = min(low, float(seen.min())), max(high, float(seen.max()))
        return low, high

    def _empty(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which pixels hold no data: bool[rows, W]."""
        colours = values[..., : self._colours]
        empty = np.asarray(np.isnan(colours).any(axis=2), np.bool_)
        if self._nodata is None:
            return empty
        unset = np.asarray((colours == self._typed(self._nodata)).all(axis=2), np.bool_)
        return empty | unset

    def _typed(self, value: float) -> float:
        """A number as the samples have it: -3.4e38 in a tag is rounded in a float of 32 bits."""
        layout = self._samples.layout
        if FLOAT not in layout.formats:
            return value
        with np.errstate(over="ignore"):
            return float(np.array(value, f"f{layout.bits[0] // 8}"))
