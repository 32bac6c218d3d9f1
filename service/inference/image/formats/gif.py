"""GIF: its first frame. Comments and application blocks are left out."""

from PIL import GifImagePlugin

from service.errors import BadImage
from service.inference.image.clock import Kept
from service.inference.image.limits import Limits, check_size
from service.inference.image.orientation import UPRIGHT
from service.inference.image.rows import Loaded

_SCREEN_BYTES = 13
_EXTENSION, _FRAME, _END, _CONTROL = 0x21, 0x2C, 0x3B, 0xF9


def open_picture(data: bytes, limits: Limits) -> tuple[Loaded, int]:
    """Decode the first frame of a GIF.

    Raises:
        BadImage: there is no frame.
        TooLarge: over a limit.
        Exception: Pillow's, for a broken file.
    """
    image = GifImagePlugin.GifImageFile(_plain(data, limits).open())
    check_size(image.size, limits)
    image.load()
    return Loaded(image), UPRIGHT


def _plain(data: bytes, limits: Limits) -> Kept:
    """The header, the last control block before the first frame, and the file from there on."""
    kept, at = Kept(data, limits.clock), _SCREEN_BYTES
    if len(data) > 10 and data[10] & 0x80:  # a palette for all frames
        at += 3 << (data[10] & 7) + 1
    kept.keep(0, at)
    control: tuple[int, int] | None = None
    while at < len(data) and data[at] not in (_FRAME, _END):
        if data[at] != _EXTENSION:
            at += 1
            continue
        begin, label, at = at, data[at + 1 : at + 2], at + 2
        while at < len(data) and data[at]:
            limits.clock.check()
            at += data[at] + 1
        at += 1
        if label == bytes([_CONTROL]) and data[begin + 2 : begin + 3] == b"\4":
            control = begin, at
    if data[at : at + 1] != bytes([_FRAME]):
        raise BadImage("the GIF has no frame")
    if control is not None:
        kept.keep(*control)
    kept.keep(at)
    return kept
