"""JPEG: its pixels and its orientation; all other metadata is left out."""

import io
import re
from collections.abc import Iterator
from typing import IO, NamedTuple

from PIL import Image, JpegImagePlugin

from service.errors import UnsupportedImage
from service.inference.image.clock import CHECK_EVERY_BYTES, Clock, ClockedFile, Kept
from service.inference.image.geometry import LeastSize, Size
from service.inference.image.limits import BYTES_PER_PIXEL, Limits, check_pixels, check_scans
from service.inference.image.orientation import is_transposed, orientation_of
from service.inference.image.rows import Loaded, steps

_MARKER = re.compile(rb"\xff+[^\x00\xff]")
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_END, _SCAN, _RESTARTS, _COMMENT = 0xD9, 0xDA, 0xDD, 0xFE
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_TABLES = frozenset({0xC4, 0xDB})
"""Huffman and quantization tables: most segments. Nothing in them is read here."""
_SEQUENTIAL, _JPEG_LS = (0xC0, 0xC1), 0xF7
_JFIF, _EXIF, _ADOBE, _LAST_APPLICATION = 0xE0, 0xE1, 0xEE, 0xEF
_UNIT_BYTES = 4096
"""The size of the largest unit of blocks is below this."""
_ENDINGS = tuple(filler * _UNIT_BYTES for filler in (b"\0", b"\xff\0", b"\x55", b"\xaa"))
_COEFFICIENT_BYTES = 2
_SCALES = (8, 4, 2, 1)
"""The factors by which libjpeg scales down without loss of speed."""
_XMP_NAME = b"http://ns.adobe.com/xap/1.0/\x00"


class Segment(NamedTuple):
    """A marker and what belongs to it, as positions in the file."""

    kind: int
    start: int
    body: int
    """Where the content begins, after the marker and the length."""
    end: int


class _Plain(NamedTuple):
    """A JPEG without metadata."""

    kept: Kept
    orientation: int
    one_scan: bool
    """Whether its first scan has the whole image. Then libjpeg reads no other scan."""
    restarts: bool
    """Whether the scan has markers at which decoding starts anew."""


def open_picture(
    data: bytes, limits: Limits, least_size: LeastSize | None = None
) -> tuple[Loaded, int]:
    """Decode a JPEG, and read how it lies.

    With `least_size` the decoder scales down, by 2, 4 or 8, as far as that size allows. The file
    is read and checked as for the full size; only its blocks are transformed into fewer pixels.

    The colour transform depends on two application segments, JFIF's and Adobe's. The decoder does
    not get the other segments and comments, so a broken one cannot fail the image.

    Raises:
        TooLarge: over a limit.
        UnsupportedImage: samples of more than 8 bits.
        Exception: Pillow's, for a broken file.
    """
    plain = _plain(data, limits)
    image = JpegImagePlugin.JpegImageFile(_file(plain.kept))
    check_pixels(image.size, limits)
    if not plain.one_scan:
        check_scans(image.size, count_scans(data, limits.clock), limits)
    full = image.size
    scale = _scale(full, plain.orientation, least_size) if least_size else 1
    limits.claim(_pixels_in_memory(image, scale, plain))
    if scale > 1:
        image.draft(None, (full[0] // scale, full[1] // scale))
    try:
        image.load()
    except OSError as error:
        if plain.restarts or not plain.one_scan or "truncated" not in str(error):
            raise
        image.close()  # its pixels are not needed beside those of the next ones
        if scale > 1:
            limits.claim(limits.pixels)
        whole = _without_end(plain.kept, limits)
        if whole is None:
            raise
        image, scale = whole, 1
    return Loaded(image, scale, full), plain.orientation


def _file(kept: Kept) -> IO[bytes]:
    """The file for the decoder.

    The decoder reads blocks of 64 kB, and the clock is checked between them. A smaller file is one
    block, so it gets the fastest kind of file, without a clock.
    """
    if sum(map(len, kept.pieces)) < CHECK_EVERY_BYTES:
        return io.BytesIO(b"".join(kept.pieces))
    return kept.open()


def _scale(full: tuple[int, int], orientation: int, least_size: LeastSize) -> int:
    """How many times smaller the image may be: 1, 2, 4 or 8."""
    turned = is_transposed(orientation)
    width, height = reversed(full) if turned else full
    least = least_size(Size(height, width))
    return next(
        scale
        for scale in _SCALES
        if scale == 1 or (scale * least.width <= width and scale * least.height <= height)
    )


def _pixels_in_memory(image: Image.Image, scale: int, plain: _Plain) -> int:
    """The number of pixels for which decoding claims memory.

    If the image has several scans, libjpeg keeps the coefficients of all its pixels at every scale.
    """
    width, height = image.size
    if scale == 1:
        return width * height
    pixels = -(-width // scale) * -(-height // scale)
    if plain.one_scan:
        return pixels
    coefficients_bytes = _COEFFICIENT_BYTES * len(image.getbands()) * width * height
    return pixels + -(-coefficients_bytes // BYTES_PER_PIXEL)


def segments(data: bytes) -> Iterator[Segment]:
    """The segments up to the end of the image, entropy-coded data passed over as libjpeg does."""
    at = 2
    while found := _MARKER.search(data, at):
        start, body = found.span()
        kind, at = data[body - 1], body
        if kind == _END:
            return
        if kind not in _WITHOUT_LENGTH:
            at += max(2, int.from_bytes(data[body : body + 2], "big"))
            body += 2
        yield Segment(kind, start, body, at)


def count_scans(data: bytes, clock: Clock) -> int:
    """How many scans libjpeg would find: start-of-scan markers outside of other segments."""
    most = data.count(b"\xff\xda")  # never less than there are
    if most < 2:
        return most
    return sum(one.kind == _SCAN for one in clock.watch(segments(data)))


def _plain(data: bytes, limits: Limits) -> _Plain:
    kept = Kept(data, limits.clock)
    kept.keep(0, 2)
    exif, xmp, components = b"", None, b""
    one_scan, restarts = False, False
    for kind, start, body_at, end in limits.clock.watch(segments(data)):
        if kind in _TABLES:
            kept.keep(start, end)
            continue
        body = data[body_at:end]
        if kind == _SCAN:
            kept.keep(start)
            one_scan = body[:1] == components
            break
        if kind == _JPEG_LS:
            raise UnsupportedImage("the image is JPEG-LS, not a usual JPEG")
        if kind in _FRAMES and len(body) > 5:
            if 8 < body[0] <= 16:
                raise UnsupportedImage(
                    f"the image is a JPEG of {body[0]} bits per sample; 8 are accepted"
                )
            components = body[5:6] if kind in _SEQUENTIAL else b""
        if kind == _RESTARTS:
            restarts = any(body)
        if kind == _EXIF and body.startswith(b"Exif\x00\x00"):
            exif += body[6:] if exif else body
        elif kind == _EXIF and body.startswith(_XMP_NAME):
            xmp = body[len(_XMP_NAME) :]
        if _needed(kind, body):
            kept.keep(start, end)
    return _Plain(kept, orientation_of(exif, xmp), one_scan, restarts)


def _needed(kind: int, body: bytes) -> bool:
    if kind == _JFIF:
        return body.startswith(b"JFIF\x00") and len(body) >= 14
    if kind == _ADOBE:
        return body.startswith(b"Adobe") and len(body) >= 12
    return not (_JFIF <= kind <= _LAST_APPLICATION or kind == _COMMENT)


def _without_end(kept: Kept, limits: Limits) -> JpegImagePlugin.JpegImageFile | None:
    """Decode a JPEG of one scan that lacks nothing but its end marker, as viewers do; else None.

    Bytes after the last pixel do not change the picture. Bytes after an earlier pixel do: bits are
    then missing, and libjpeg uses any bytes that follow.
    """
    first, *others = _ENDINGS
    image = _loaded(kept, first, limits)
    same = all(_is_same(image, _loaded(kept, ending, limits), limits) for ending in others)
    return image if same else None


def _is_same(one: Image.Image, other: Image.Image, limits: Limits) -> bool:
    for top, bottom in steps(one.size):
        limits.clock.check()
        box = (0, top, one.width, bottom)
        if one.crop(box).tobytes() != other.crop(box).tobytes():
            return False
    return True


def _loaded(kept: Kept, ending: bytes, limits: Limits) -> JpegImagePlugin.JpegImageFile:
    *pieces, scan = kept.pieces
    scan = bytes(scan).rstrip(b"\xff")  # with the ending, a lone 0xff would be a marker
    file = ClockedFile([*pieces, scan, ending, b"\xff\xd9"], limits.clock)
    image = JpegImagePlugin.JpegImageFile(file)
    image.load()
    return image
