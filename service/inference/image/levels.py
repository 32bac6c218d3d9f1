"""Samples of 16 bits to 8."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.inference.image.rows import BACKGROUND, Loaded


def grey_table(bits: int, *, inverted: bool = False) -> NDArray[np.uint8]:
    """What each grey of 9 to 16 bits becomes: uint8[2**bits], 0 to 0 and the highest to 255.

    `inverted`: white is 0.
    """
    values = np.arange(2**bits, dtype=np.uint32)
    # To 16 bits, as PNG has it: the upper bits come once more below.
    values = values << (16 - bits) | values >> (2 * bits - 16)
    table = (values.astype(np.float64) / 65535 * 255).astype(np.uint8)
    return table[::-1].copy() if inverted else table


_TABLE = grey_table(16)


class Grey16(Loaded):
    """Grey of 16 bits that Pillow holds; one of its greys may be transparent."""

    def __init__(
        self, image: Image.Image, transparent: int | None = None, *, inverted: bool = False
    ) -> None:
        super().__init__(image)
        self._transparent = transparent
        self._table = grey_table(16, inverted=True) if inverted else _TABLE

    def rows(self, top: int, bottom: int) -> Image.Image:
        """Some rows, mode L."""
        values = np.asarray(super().rows(top, bottom))
        grey = self._table[values]
        if self._transparent is not None:
            grey[values == self._transparent] = BACKGROUND[0]
        return Image.fromarray(grey)


class Keyed16(Loaded):
    """RGB of 16 bits, one of whose colours is transparent.

    Pillow keeps the upper bytes alone, in which neighbours of that colour look like it: so the
    lower bytes come as an image of their own.
    """

    def __init__(self, upper: Image.Image, lower: Image.Image, key: tuple[int, ...]) -> None:
        super().__init__(upper)
        self._lower = Loaded(lower)
        self._key = np.array(key)

    def rows(self, top: int, bottom: int) -> Image.Image:
        """Some rows, mode RGB."""
        colours = np.array(super().rows(top, bottom))
        lower = np.asarray(self._lower.rows(top, bottom))
        is_key = (colours == self._key >> 8) & (lower == self._key & 255)
        colours[is_key.all(axis=2)] = BACKGROUND
        return Image.fromarray(colours)
