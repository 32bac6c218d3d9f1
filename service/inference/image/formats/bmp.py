"""BMP, of Windows and of OS/2. It is decoded here because Pillow reads unused alpha bytes as
alpha."""

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.errors import BadImage, UnsupportedImage
from service.inference.image.formats import bmp_rle
from service.inference.image.formats.bmp_pixels import Indexed, Masked, Masks
from service.inference.image.limits import Limits, check_size
from service.inference.image.orientation import UPRIGHT
from service.inference.image.rows import Picture, steps

_FILE_HEADER_BYTES, _CORE_HEADER_BYTES, _LONGEST_HEADER_BYTES = 14, 12, 124
_OS2_HEADER_BYTES = (16, 24, 48, 64)
_PLAIN, _RLE8, _RLE4, _MASKS, _RLE24, _MASKS_WITH_ALPHA = 0, 1, 2, 3, 4, 6
_RUNS = {_RLE8: 8, _RLE4: 4, _RLE24: 24}
_DEFAULT_MASKS: dict[int, Masks] = {
    16: (0x7C00, 0x3E0, 0x1F, 0),
    24: (0xFF0000, 0xFF00, 0xFF, 0),
    32: (0xFF0000, 0xFF00, 0xFF, 0),
}
_NO_MASKS: Masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
"""The masks that are used if all four masks are 0 in pixels of 32 bits, as in Pillow."""


class Header(NamedTuple):
    """What the header of a bitmap says."""

    size: tuple[int, int]
    bits: int
    compression: int
    masks: Masks
    palette: NDArray[np.uint8]
    """uint8[256, 3]; black where the file has no colour."""
    pixels_at: int
    top_down: bool


def open_picture(data: bytes, limits: Limits) -> tuple[Picture, int]:
    """Decode a BMP.

    If every alpha byte is 0, alpha is not used and the picture is opaque, as in viewers.

    Raises:
        BadImage: the file is broken or cut short.
        TooLarge: over a limit.
        UnsupportedImage: a JPEG or PNG inside a bitmap, or a number of bits that is not in use.
    """
    header = read_header(data)
    check_size(header.size, limits)
    stored = _stored_rows(data, header, limits)
    if not header.top_down:
        stored = stored[::-1]
    if header.bits <= 8:
        bits = 8 if header.compression in _RUNS else header.bits
        return Indexed(stored, header.size, bits, header.palette), UPRIGHT
    picture = Masked(stored, header.size, header.bits, header.masks)
    for top, bottom in steps(header.size):
        limits.clock.check()
        if picture.has_alpha(top, bottom):
            return picture, UPRIGHT
    return picture.opaque(), UPRIGHT


def read_header(data: bytes) -> Header:
    """Read the headers of a bitmap file.

    Raises:
        BadImage: they are broken.
        UnsupportedImage: they name a kind of bitmap that is not decoded.
    """
    (header_bytes,) = _unpack("<I", data, _FILE_HEADER_BYTES)
    if header_bytes != _CORE_HEADER_BYTES and not 16 <= header_bytes <= 4096:
        raise BadImage(f"the BMP is broken: its header says that it has {header_bytes} bytes")
    after = _FILE_HEADER_BYTES + header_bytes
    if len(data) < after:
        raise BadImage("the BMP is cut short: it ends in its header")
    head = data[_FILE_HEADER_BYTES : min(after, _FILE_HEADER_BYTES + _LONGEST_HEADER_BYTES)]
    head = head.ljust(_LONGEST_HEADER_BYTES, b"\0")
    if header_bytes == _CORE_HEADER_BYTES:
        width, height, _, bits = struct.unpack_from("<HHHH", head, 4)
        compression = colours = 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", head, 4)
        (colours,) = struct.unpack_from("<I", head, 32)
    if width <= 0 or height == 0:
        raise BadImage(f"the BMP is broken: it says that it has {width}×{height} px")
    _check_kind(bits, compression, os2=header_bytes in _OS2_HEADER_BYTES)
    masks, masks_bytes = _masks(data, head, header_bytes, bits, compression)
    palette_at = after + masks_bytes
    (pixels_at,) = _unpack("<I", data, 10)
    entry = 3 if header_bytes == _CORE_HEADER_BYTES else 4
    palette_bytes = entry * min(colours or 1 << bits, 256) if bits <= 8 else 0
    if pixels_at in (0, after):  # as some programs write, palette or not
        pixels_at = palette_at + palette_bytes
    if pixels_at > palette_at:
        palette_bytes = min(palette_bytes, pixels_at - palette_at)
    palette = _palette(data[palette_at : palette_at + palette_bytes], entry)
    return Header(
        (width, abs(height)), bits, compression, masks, palette, pixels_at, top_down=height < 0
    )


def _unpack(code: str, data: bytes, at: int) -> tuple[int, ...]:
    try:
        return struct.unpack_from(code, data, at)
    except struct.error:
        raise BadImage("the BMP is cut short: it ends in its header") from None


def _check_kind(bits: int, compression: int, *, os2: bool) -> None:
    if compression == _PLAIN and bits in (1, 2, 4, 8, 16, 24, 32):
        return
    if compression in (_MASKS, _MASKS_WITH_ALPHA) and bits in _DEFAULT_MASKS:
        return
    if _RUNS.get(compression) == bits and (compression != _RLE24 or os2):
        return
    names = {_MASKS: "Huffman compression", _RLE24: "a JPEG inside", 5: "a PNG inside"}
    kind = names.get(compression, f"compression {compression} and {bits} bits per pixel")
    raise UnsupportedImage(f"the image is a BMP with {kind}, which is not decoded")


def _masks(
    data: bytes, head: bytes, header_bytes: int, bits: int, compression: int
) -> tuple[Masks, int]:
    """The masks of a bitmap, and how many bytes they take after its header."""
    if compression not in (_MASKS, _MASKS_WITH_ALPHA):
        return _DEFAULT_MASKS.get(bits, (0, 0, 0, 0)), 0
    count = 4 if compression == _MASKS_WITH_ALPHA else 3
    outside = header_bytes < 52 or header_bytes in _OS2_HEADER_BYTES
    if outside:
        found = _unpack(f"<{count}I", data, _FILE_HEADER_BYTES + header_bytes)
    else:
        count = 4 if header_bytes >= 56 else 3
        found = struct.unpack_from(f"<{count}I", head, 40)
    red, green, blue, alpha = (mask & (1 << bits) - 1 for mask in (*found, 0)[:4])
    masks = (red, green, blue, alpha)
    if not any(masks):
        masks = _NO_MASKS if bits == 32 else _DEFAULT_MASKS[bits]
    return masks, 4 * count if outside else 0


def _palette(raw: bytes, entry: int) -> NDArray[np.uint8]:
    palette = np.zeros((256, 3), np.uint8)
    colours = np.frombuffer(raw, np.uint8)[: len(raw) // entry * entry].reshape(-1, entry)
    palette[: len(colours)] = colours[:, 2::-1]  # blue, green, red
    return palette


def _stored_rows(data: bytes, header: Header, limits: Limits) -> NDArray[np.uint8]:
    """The rows as they are in the file: uint8[H, bytes]."""
    width, height = header.size
    pixels = memoryview(data)[header.pixels_at :]
    if header.compression in _RUNS:
        unpacked = bmp_rle.unpack(pixels, header.size, header.bits, limits.clock)
        return np.frombuffer(unpacked, np.uint8).reshape(height, -1)
    used = (width * header.bits + 7) // 8
    row = (used + 3) // 4 * 4
    if len(pixels) < row * (height - 1) + used:
        raise BadImage(
            f"the BMP is cut short: it has {len(pixels)} of {row * height} bytes of pixels"
        )
    if len(pixels) < row * height:  # without the bytes that fill up the last row
        pixels = memoryview(bytes(pixels).ljust(row * height, b"\0"))
    return np.frombuffer(pixels[: row * height], np.uint8).reshape(height, row)
