"""A decoded image: RGB, upright, in full size or scaled down while it was decoded."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.inference.image.geometry import Size
from service.inference.image.rows import steps

BYTES_PER_PIXEL = 4
"""Pillow stores a pixel of RGB in four bytes."""

Edges = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels, fractions of a pixel included."""


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """The result of `service.inference.decode.decode_image`.

    `size` is the size of the original. Plans, boxes and answers refer to it. `image` holds the
    pixels and may be smaller. `scale` says how many times smaller: 1, 2, 4 or 8.

    The pixels stay in the buffer of the decoder, and Pillow resizes from there. An array would be
    another copy, of 36 MB for an image of 12 MP.
    """

    image: Image.Image
    size: Size
    scale: int = 1
    at_right: bool = False
    at_bottom: bool = False
    """The decoder rounds a scaled size up, so its last pixel lies partly outside the original. A
    turn can bring that pixel to the left or to the top: the original then ends exactly at the
    right edge of `image`, or at its bottom edge."""

    @property
    def nbytes(self) -> int:
        """Bytes that the pixels take."""
        return self.image.width * self.image.height * BYTES_PER_PIXEL

    def edges(self, left: float, top: float, right: float, bottom: float) -> Edges:
        """Where a rectangle of the original, in its pixels, lies in `image`."""
        x = self.image.width - self.size.width / self.scale if self.at_right else 0.0
        y = self.image.height - self.size.height / self.scale if self.at_bottom else 0.0
        return (
            x + left / self.scale,
            y + top / self.scale,
            x + right / self.scale,
            y + bottom / self.scale,
        )

    def whole(self) -> Edges:
        """Where the original lies in `image`."""
        return self.edges(0, 0, self.size.width, self.size.height)

    def mirrored(self) -> "DecodedImage":
        """The same image, mirrored left to right."""
        turned = self.image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return DecodedImage(turned, self.size, self.scale, not self.at_right, self.at_bottom)

    def array(self) -> NDArray[np.uint8]:
        """The pixels as uint8[h, w, 3], of the scaled size. This copies them, a part at a time."""
        width, height = self.image.size
        parts = steps((width, height))
        if len(parts) == 1:
            return np.asarray(self.image)
        out = np.empty((height, width, 3), np.uint8)
        for top, bottom in parts:
            out[top:bottom] = np.asarray(self.image.crop((0, top, width, bottom)))
        return out
