"""A TIFF with other tags around the same pixels, for Pillow to read.

The new directory holds only tags that make pixels. EXIF, XMP, profiles, resolutions and further
pages are left out, so a broken one cannot fail the image.
"""

import struct

import numpy as np
from numpy.typing import NDArray
from PIL import TiffImagePlugin

from service.errors import BadImage
from service.inference.image.clock import ClockedFile, Kept
from service.inference.image.formats.ifd import Directory
from service.inference.image.formats.tiff.layout import Tag
from service.inference.image.limits import Limits

_FAX_OPTIONS, _COLOUR_MAP, _JPEG_TABLES = (292, 293), 320, 347
_OLD_JPEG, _YCBCR = range(512, 522), range(529, 533)
PIXEL_TAGS = frozenset(
    {
        *(Tag.WIDTH, Tag.HEIGHT, Tag.BITS, Tag.COMPRESSION, Tag.PHOTOMETRIC, Tag.FILL_ORDER),
        *(Tag.STRIP_OFFSETS, Tag.SAMPLES, Tag.STRIP_ROWS, Tag.STRIP_BYTES, Tag.PLANAR),
        *(Tag.PREDICTOR, Tag.TILE_WIDTH, Tag.TILE_HEIGHT, Tag.TILE_OFFSETS, Tag.TILE_BYTES),
        *(Tag.EXTRA_SAMPLES, *_FAX_OPTIONS, _COLOUR_MAP, _JPEG_TABLES, *_OLD_JPEG, *_YCBCR),
    }
)
PARTS = ((Tag.STRIP_OFFSETS, Tag.STRIP_BYTES), (Tag.TILE_OFFSETS, Tag.TILE_BYTES))
_LONG, _LONG8 = 4, 16

Changes = dict[int, int | NDArray[np.uint64] | None]
"""New values of tags; None: without the tag."""


def open_tiff(
    data: bytes, directory: Directory, changes: Changes, limits: Limits
) -> TiffImagePlugin.TiffImageFile:
    """Open and load a TIFF with a new directory. Pixels are not copied.

    Raises:
        BadImage: the pixels end before the file says.
        SyntaxError: Pillow has no mode for the samples.
        Exception: Pillow's, for a broken file.
    """
    file = rewritten(data, directory, changes, limits)
    image = TiffImagePlugin.TiffImageFile(file)
    if image.info["compression"] != "raw":
        check_parts(data, directory)
    image.getexif()  # Pillow reads the directory again, once
    file.cut(len(data))  # a strip that is cut short must not go on in the new directory
    image.load()
    return image


def check_parts(data: bytes, directory: Directory) -> None:
    """Refuse a file that ends within a compressed strip or tile.

    Raises:
        BadImage: it does.
    """
    for offsets, sizes in PARTS:
        at, size = directory.array(offsets), directory.array(sizes)
        count = min(len(at), len(size))
        ends = at[:count] + size[:count]
        if count and (most := int(ends.max())) > len(data):
            raise BadImage(f"the TIFF is cut short: it has {len(data)} of at least {most} bytes")


def rewritten(data: bytes, directory: Directory, changes: Changes, limits: Limits) -> ClockedFile:
    """The file with a new directory at its end."""
    order, big = directory.order, directory.big
    number, kind = ("Q", _LONG8) if big else ("I", _LONG)
    head = order + ("HHQ" if big else "HHI")
    inline = 8 if big else 4
    tags = (PIXEL_TAGS & directory.entries.keys()) - changes.keys()
    entries = {int(tag): directory.entries[tag].raw for tag in tags}
    new = {tag: value for tag, value in changes.items() if value is not None}
    at = len(data) + len(data) % 2
    count = len(entries) + len(new)
    values_at = at + (8 if big else 2) + count * (struct.calcsize(head) + inline) + inline
    values = b""
    for tag, value in new.items():
        packed = np.atleast_1d(np.asarray(value)).astype(f"{order}u{inline}").tobytes()
        entry = struct.pack(head, tag, kind, len(packed) // inline)
        if len(packed) > inline:
            entry += struct.pack(order + number, values_at + len(values))
            values += packed
        else:
            entry += packed
        entries[tag] = entry
    kept = Kept(data, limits.clock)
    start = 16 if big else 8
    kept.put(data[: start - inline] + struct.pack(order + number, at))
    kept.keep(start)
    kept.put(
        b"\0" * (len(data) % 2)
        + struct.pack(order + ("Q" if big else "H"), count)
        + b"".join(entry for _, entry in sorted(entries.items()))
        + bytes(inline)
        + values
    )
    return kept.open()
