"""WebP: the first frame, straight from the decoder."""

from typing import Any

from service.errors import BadImage
from service.inference.image.limits import Limits, check_size
from service.inference.image.orientation import orientation_of
from service.inference.image.rows import Unpacked


def open_picture(data: bytes, limits: Limits) -> tuple[Unpacked, int]:
    """Decode the first frame of a WebP, and read how it lies.

    Pillow's own class would copy the frame, and read EXIF first. The decoder allocates memory for
    the canvas as soon as it is made, so the size is read before that.

    Raises:
        BadImage: the file is broken.
        TooLarge: over a limit.
    """
    from PIL import _webp  # type: ignore[attr-defined]  # some builds of Pillow lack it

    size = header_size(data)
    if size is None:
        raise BadImage("the WebP is broken: its header names no size")
    check_size(size, limits)
    decoder: Any = _webp.WebPAnimDecoder(data)
    size, _, _, _, raw_mode = decoder.get_info()
    check_size(size, limits)
    frame = decoder.get_next()
    if frame is None:
        raise BadImage("the WebP is broken or cut short")
    limits.clock.check()
    orientation = orientation_of(decoder.get_chunk("EXIF"), decoder.get_chunk("XMP "))
    return Unpacked(frame[0], size, "RGBA" if raw_mode == "RGBA" else "RGB", raw_mode), orientation


def header_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of the canvas, from the header."""
    kind, head = data[12:16], data[20:30]
    if kind == b"VP8X" and len(head) == 10:
        width, height = head[4:7], head[7:10]
        return int.from_bytes(width, "little") + 1, int.from_bytes(height, "little") + 1
    if kind == b"VP8L" and len(head) >= 5:
        bits = int.from_bytes(head[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and len(head) == 10:
        width, height = head[6:8], head[8:10]
        return int.from_bytes(width, "little") & 0x3FFF, int.from_bytes(height, "little") & 0x3FFF
    return None
