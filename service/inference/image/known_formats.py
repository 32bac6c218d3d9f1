"""Detect the format of a file, so that the error for a format that is not decoded names it."""

import re
from typing import IO

from PIL import Image, features

from service.inference.image.signatures import SIGNATURE_BYTES, format_of

ACCEPTED = (
    *("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"),
    *(["AVIF"] if features.check("avif") else []),
)
"""The formats that are decoded. AVIF: where Pillow was built with its codec, as its wheels are."""

_HEAD_BYTES = 4096
_OTHER_STARTS = (
    (b"BM", "BMP"),  # with a header of a length that is not in use
    (b"MM*\x00", "TIFF"),  # the number 42 in the wrong order of bytes: Pillow reads such files
    (b"II\x00*", "TIFF"),
    (b"%PDF-", "PDF"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "gzip data"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file that it stands for"),
    (b"\x00\x05\x16\x07", "an AppleDouble file, which holds the metadata of another file"),
)
_VIDEO_BRANDS = re.compile(rb"qt  |isom|iso[2-9]|mp4[12]|M4V |avc1|3gp[4-6]")
_SVG = re.compile(rb"(?>\s+|<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^>]*>)*+<(\w+:)?svg[\s>]", re.DOTALL)
_HTML = re.compile(rb"\s*<(!doctype\s+html|html|head|body)\b", re.IGNORECASE)


def identify(data: bytes) -> str | None:
    """The name of the format of a file. None: no known format begins with these bytes.

    The formats of `ACCEPTED` are named exactly so; others have names for people.
    """
    if (known := format_of(data[:SIGNATURE_BYTES])) is not None:
        return known
    head = data[:_HEAD_BYTES].removeprefix(b"\xef\xbb\xbf")
    for start, name in _OTHER_STARTS:
        if head.startswith(start):
            return name
    if head[4:8] == b"ftyp":
        return "a video" if _VIDEO_BRANDS.match(head, 8) else None
    if _SVG.match(head):
        return "SVG"
    return "an HTML page" if _HTML.match(head) else None


def rare_format(file: IO[bytes]) -> str | None:
    """Ask Pillow for the name of a format that `identify` does not know."""
    try:
        with Image.open(file) as image:
            return image.format
    except MemoryError:
        raise
    except Exception:  # any failure means the same: no format claims these bytes
        return None
