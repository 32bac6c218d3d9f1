"""Limits on what an image file may cost, beyond the bytes of the upload.

Nothing can stop a decoder that runs in C. So its work is limited in two ways: before it starts, by
the values that the file declares; and while it runs, at each read of the next block of the file.
"""

import numpy as np

from service.errors import TooLarge
from service.inference.image.budget import DECODING
from service.inference.image.clock import Clock

MAX_PIXELS = 50_000_000
MAX_DECODE_MS = 5000
SCAN_PASSES = 20
"""Scans of a JPEG that is as large as `max_pixels`; a smaller one may have more. A usual
progressive JPEG has 10 scans. Each is a pass over all its pixels, even if it has only a few
bytes."""


BYTES_PER_PIXEL = 16
"""The highest memory that decoding takes, in any format: see `tests/unit/test_decode_memory`."""


_SPARE_BYTES = 16 * 1024 * 1024


class Limits:
    """The limits on the decoding of one image, and the values that its file has declared so far."""

    def __init__(self, max_pixels: int, clock: Clock) -> None:
        self.max_pixels = max_pixels
        self.clock = clock
        self.pixels = 0
        """Pixels of the image, once its header is read."""
        self.claimed_pixels = 0
        """Pixels for which the budget has room. They are fewer if the image is scaled down."""

    def claim(self, pixels: int) -> None:
        """Wait until the budget has room for this many pixels.

        They replace the pixels claimed before.
        """
        DECODING.claim(pixels, self.claimed_pixels)
        self.claimed_pixels = pixels

    def has_memory(self) -> bool:
        """Whether there is enough memory to decode the image: allocate it, and free it at once."""
        try:
            np.empty(BYTES_PER_PIXEL * self.claimed_pixels + _SPARE_BYTES, np.uint8)
        except MemoryError:
            return False
        return True


def check_size(size: tuple[int, int], limits: Limits, what: str = "image is") -> None:
    """Refuse an image by the size in its header, or wait until there is room for all its pixels.

    Raises:
        TooLarge: over `max_pixels`.
    """
    check_pixels(size, limits, what)
    if not limits.claimed_pixels:
        limits.claim(limits.pixels)


def check_pixels(size: tuple[int, int], limits: Limits, what: str = "image is") -> None:
    """Refuse an image by the size in its header. The decoder still has to claim its pixels.

    Raises:
        TooLarge: over `max_pixels`.
    """
    width, height = size
    if width * height > limits.max_pixels:
        raise TooLarge(
            f"{what} {width}×{height} px ({width * height / 1e6:.0f} MP); "
            f"the limit is {limits.max_pixels / 1e6:.0f} MP (QUINCUNX_MAX_PIXELS)"
        )
    if not limits.pixels:
        limits.pixels = width * height


def check_scans(size: tuple[int, int], scans: int, limits: Limits) -> None:
    """Refuse a JPEG with so many scans that decoding would take too long.

    Raises:
        TooLarge: over `SCAN_PASSES` × `max_pixels`.
    """
    limit = SCAN_PASSES * limits.max_pixels
    width, height = size
    if scans * width * height > limit:
        raise TooLarge(
            f"the JPEG has {scans} scans of {width}×{height} px, "
            f"{scans * width * height / 1e6:.0f} MP to decode in all; "
            f"the limit is {limit / 1e6:.0f} MP ({SCAN_PASSES} × QUINCUNX_MAX_PIXELS)"
        )
