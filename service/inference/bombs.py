"""What a file could cost that its size in pixels does not tell, bounded.

Nothing can stop a decoder that runs in C, so the bounds are where it can still be helped: on the
header, before anything is decoded, and between the blocks of the file that a decoder asks for.
"""

import io
import re
import time

from PIL import Image, TiffImagePlugin

from service.errors import TooLarge

MAX_DECODE_MS = 5000
SCAN_PASSES = 20
"""Scans of a JPEG that is as large as `max_pixels`; a smaller one may have more. A usual
progressive JPEG has 10, and each is a pass over all its pixels, however few bytes it takes."""

_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_END, _SCAN = 0xD9, 0xDA


class Clocked(io.BytesIO):
    """A file that stops being read once its reader has used up its processor time.

    Decoders ask for 64 kB at a time, so they are interrupted where they run long. It is the time of
    the reading thread alone: a busy machine fails no image.
    """

    def __init__(self, data: bytes, limit_ms: int) -> None:
        super().__init__(data)
        self._limit_ms = limit_ms
        self._end_s = time.thread_time() + limit_ms / 1000

    def read(self, size: int | None = -1, /) -> bytes:
        """Read on.

        Raises:
            TooLarge: the time is up.
        """
        late_s = time.thread_time() - self._end_s
        if late_s > 0:
            raise TooLarge(
                f"decoding took {self._limit_ms + late_s * 1000:.0f} ms and was not done; "
                f"the limit is {self._limit_ms} ms (QUINCUNX_MAX_DECODE_MS)"
            )
        return super().read(size)


def check_scans(image: Image.Image, data: bytes, max_pixels: int) -> None:
    """Refuse a JPEG whose scans, all together, are too many pixels to go over.

    Raises:
        TooLarge: over `SCAN_PASSES` × `max_pixels`.
    """
    limit = SCAN_PASSES * max_pixels
    pixels = image.width * image.height
    if pixels * data.count(b"\xff\xda") <= limit:  # never less than there are
        return
    scans = count_scans(data)
    if pixels * scans > limit:
        raise TooLarge(
            f"the JPEG has {scans} scans of {image.width}×{image.height} px, "
            f"{scans * pixels / 1e6:.0f} MP to decode in all; the limit is {limit / 1e6:.0f} MP "
            f"({SCAN_PASSES} × QUINCUNX_MAX_PIXELS)"
        )


def count_scans(data: bytes) -> int:
    """How many scans libjpeg would find: start-of-scan markers outside of other segments."""
    scans, at = 0, 0
    while found := _MARKER.search(data, at):
        at, kind = found.end(), found[1][0]
        if kind == _END:
            break
        if kind in _WITHOUT_LENGTH:
            continue
        scans += kind == _SCAN
        at += max(2, int.from_bytes(data[at : at + 2], "big"))
    return scans


def check_tiles(image: Image.Image, max_pixels: int) -> None:
    """Refuse a TIFF with tiles larger than an image may be: each is unpacked whole.

    Raises:
        TooLarge: over `max_pixels` in one tile.
    """
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return
    tags = image.tag_v2
    width, length = tags.get(322, 0), tags.get(323, 0)
    if width * length > max_pixels:
        raise TooLarge(
            f"the TIFF has tiles of {width}×{length} px; the limit is {max_pixels / 1e6:.0f} MP "
            "(QUINCUNX_MAX_PIXELS)"
        )
