"""AVIF: its still picture, straight from the decoder."""

from typing import Any

from service.errors import BadImage, TooLarge
from service.inference.image.formats import av1
from service.inference.image.formats.heif import Boxes
from service.inference.image.limits import Limits, check_size
from service.inference.image.rows import Unpacked

WORK_PASSES = 4
"""The limit on the pixels that the AV1 data of a file makes the decoder process, as a multiple of
`max_pixels`. Colours and transparency are one pass each, and the cells of a grid may reach beyond
the picture."""

_ONE_THREAD = 1
_METADATA = (b"Exif", b"mime")


def open_picture(data: bytes, limits: Limits) -> tuple[Unpacked, int]:
    """Decode the still picture of an AVIF, and read how it lies.

    Of a file with an animation, too, the still picture. The format turns pictures with properties
    of its own; EXIF and XMP do not count. One thread decodes, so that the clock sees all the work.

    Raises:
        BadImage: the file is broken.
        TooLarge: over a limit.
        Exception: Pillow's, for a broken file.
    """
    from PIL import _avif  # type: ignore[attr-defined]  # some builds of Pillow lack it

    try:
        boxes = Boxes(data)
        decoder: Any = _avif.AvifDecoder(_plain(data, boxes, limits), "auto", _ONE_THREAD)
        size, _, mode, _, _, orientation, _ = decoder.get_info()
        check_size(size, limits)
        _check_work(data, boxes, limits)
    except ValueError as error:
        raise BadImage(f"the AVIF is broken: {error}") from error
    pixels = decoder.get_frame(0)[0]
    limits.clock.check()
    return Unpacked(pixels, size, mode, mode), orientation


def _plain(data: bytes, boxes: Boxes, limits: Limits) -> bytes:
    """The file with metadata under types that the decoder passes over: it refuses broken EXIF."""
    places = [item.kind_at for item in limits.clock.watch(boxes.items()) if item.kind in _METADATA]
    animated = data[8:12] == b"avis"  # else the decoder would take the animation
    if not places and not animated:
        return data
    plain = bytearray(data)
    for at in places:
        plain[at : at + 4] = b"skip"
    if animated:
        plain[8:12] = b"avif"
    return bytes(plain)


def _check_work(data: bytes, boxes: Boxes, limits: Limits) -> None:
    """Refuse AV1 data that is larger than the size of the picture in the file.

    The decoder makes all frames of the data, and only then compares them with this size.

    Raises:
        TooLarge: over a limit.
        ValueError: the file is broken.
    """
    pictures = {item.id for item in limits.clock.watch(boxes.items()) if item.kind == b"av01"}
    limit, left = WORK_PASSES * limits.max_pixels, 2 * len(data)
    work = 0
    for place in limits.clock.watch(boxes.places()):
        if place.id not in pictures:
            continue
        parts = [memoryview(data)[part.begin : part.end] for part in place.parts]
        left -= sum(len(part) for part in parts)
        if left < 0:
            raise ValueError("its items overlap")
        limits.clock.check()
        work += av1.work_pixels(parts[0] if len(parts) == 1 else memoryview(b"".join(parts)))
    if work > limit:
        raise TooLarge(
            f"the AVIF has AV1 data of {work / 1e6:.0f} MP; the limit is {limit / 1e6:.0f} MP "
            f"({WORK_PASSES} × QUINCUNX_MAX_PIXELS)"
        )
