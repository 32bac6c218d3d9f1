"""How an image lies in its file, read from EXIF and XMP.

Only the orientation is read. Other broken tags are ignored. A broken orientation counts as no
orientation. So metadata never fails an image.
"""

import re

from PIL import Image

from service.inference.image.formats import ifd

UPRIGHT = 1
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The operation that makes an image of each EXIF orientation upright. Others need none."""

ORIENTATION = 0x0112
_EXIF_NAME = re.compile(rb"^(Exif\x00\x00){1,2}")
_IN_XMP = re.compile(rb"tiff:Orientation(?:\s*=\s*[\"']|>)\s*([1-8])")


def is_transposed(orientation: int) -> bool:
    """Whether the rows of the file become columns."""
    return 5 <= orientation <= 8


def is_backwards(orientation: int) -> bool:
    """Whether the first row of the file becomes the last row or column."""
    return orientation in (3, 4, 6, 7)


def is_mirrored(orientation: int) -> bool:
    """Whether the first column of the file becomes the last column or row."""
    return orientation in (2, 3, 7, 8)


def orientation_of(exif: bytes | None, xmp: bytes | None = None) -> int:
    """The orientation that EXIF names, else XMP, else 1."""
    if exif and (found := of_directory(ifd.read(_EXIF_NAME.sub(b"", exif, count=1)))):
        return found
    return of_xmp(xmp)


def of_directory(directory: ifd.Directory | None) -> int | None:
    """The orientation in an IFD: an integer of 1 to 8, or None."""
    value = directory.integer(ORIENTATION) if directory else None
    return value if value is not None and 1 <= value <= 8 else None


def of_xmp(xmp: bytes | None) -> int:
    """The orientation in an XMP packet, else 1."""
    found = _IN_XMP.search(xmp) if xmp else None
    return int(found[1]) if found else UPRIGHT
