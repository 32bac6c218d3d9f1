"""The rows of a bitmap to RGB or RGBA."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.errors import BadImage

Masks = tuple[int, int, int, int]
Rows = NDArray[np.uint8]


class Indexed:
    """Pixels of 1, 2, 4 or 8 bits that are numbers of colours."""

    def __init__(self, stored: Rows, size: tuple[int, int], bits: int, palette: Rows) -> None:
        self.size = size
        self._stored, self._bits, self._palette = stored, bits, palette

    def rows(self, top: int, bottom: int) -> Image.Image:
        """Some rows, mode RGB."""
        stored = self._stored[top:bottom]
        if self._bits < 8:
            shifts = np.arange(8 - self._bits, -1, -self._bits, dtype=np.uint8)
            parts = stored[..., None] >> shifts & (1 << self._bits) - 1
            stored = parts.reshape(len(stored), -1)
        return Image.fromarray(self._palette[stored[:, : self.size[0]]])


class Masked:
    """Pixels of 16, 24 or 32 bits, some of which are red, some green, and so on."""

    def __init__(self, stored: Rows, size: tuple[int, int], bits: int, masks: Masks) -> None:
        """Take the rows as they are in the file.

        Raises:
            BadImage: the bits of a colour are not neighbours.
        """
        for mask in masks:
            lowest = mask & -mask
            if mask and (mask // lowest + 1) & mask // lowest:
                raise BadImage(f"the BMP is broken: {mask:#x} is not a mask for {bits} bits")
        self.size = size
        self._stored, self._bits, self._masks = stored, bits, masks

    def opaque(self) -> "Masked":
        """The same picture without alpha."""
        return Masked(self._stored, self.size, self._bits, (*self._masks[:3], 0))

    def has_alpha(self, top: int, bottom: int) -> bool:
        """Whether a pixel of some rows has an alpha of more than 0."""
        return bool(self._masks[3] and self._channels(top, bottom, self._masks[3:]).any())

    def rows(self, top: int, bottom: int) -> Image.Image:
        """Some rows, mode RGB or RGBA."""
        masks = self._masks if self._masks[3] else self._masks[:3]
        return Image.fromarray(self._channels(top, bottom, masks))

    def _channels(self, top: int, bottom: int, masks: tuple[int, ...]) -> Rows:
        """uint8[rows, W, channels]."""
        size = self._bits // 8
        stored = np.ascontiguousarray(self._stored[top:bottom, : self.size[0] * size])
        stored = stored.reshape(bottom - top, self.size[0], size)
        places = [next((at for at in range(size) if mask == 0xFF << 8 * at), -1) for mask in masks]
        if min(places) >= 0:
            return np.ascontiguousarray(stored[..., places])
        if size == 3:
            stored = np.pad(stored, ((0, 0), (0, 0), (0, 1)))
        values = stored.view("<u2" if size == 2 else "<u4")[..., 0].astype(np.uint32)
        return np.stack([_scaled(values, mask) for mask in masks], axis=-1)


def _scaled(values: NDArray[np.uint32], mask: int) -> Rows:
    """A channel of any number of bits, as 0 to 255."""
    if not mask:
        return np.zeros(values.shape, np.uint8)
    lowest = mask & -mask
    highest = mask // lowest
    channel = (values & mask) // lowest
    if highest == 255:
        return channel.astype(np.uint8)
    return (channel.astype(np.uint64) * 255 // highest).astype(np.uint8)
