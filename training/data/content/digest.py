"""A number for the content of an image file."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.inference.image.signatures import SIGNATURE_BYTES, format_of

READ_BYTES = 64 * 1024
COMPRESSED = frozenset(("JPEG", "PNG", "WEBP", "GIF", "AVIF", "HEIC"))
"""Formats of compressed pixels: the length and the start of such a file tell it from all others."""
BITS = 64

Digest = Callable[[Path], int]


def content_digest(path: Path) -> int:
    """A uniform 64-bit number from the content of a file.

    Of a file of a `COMPRESSED` format, its length and its first 64 KiB are read. Files of other
    formats (BMP, most TIFF) may differ in a later part only, so all of it is read. Equal files have
    equal digests, wherever they are and whatever their names are. A file that cannot be read gets a
    digest of its name: the decoder reports such a file later.
    """
    return _digest(path, whole=True)


def rough_digest(path: Path) -> int:
    """The digest that versions up to 0.6 took: of the first 64 KiB, whatever the format."""
    return _digest(path, whole=False)


def _digest(path: Path, *, whole: bool) -> int:
    digest = hashlib.blake2b(digest_size=BITS // 8)
    try:
        with path.open("rb") as file:
            digest.update(path.stat().st_size.to_bytes(8, "big"))
            head = file.read(READ_BYTES)
            digest.update(head)
            if whole and not _is_compressed(head):
                while chunk := file.read(READ_BYTES):
                    digest.update(chunk)
    except OSError:
        digest = hashlib.blake2b(
            path.name.encode("utf-8", "surrogateescape"), digest_size=BITS // 8
        )
    return int.from_bytes(digest.digest(), "big")


def _is_compressed(head: bytes) -> bool:
    """Whether a file that begins with `head` holds compressed pixels. A PNG may hold raw ones."""
    found = format_of(head[:SIGNATURE_BYTES])
    if found == "PNG":
        # The first data chunk: its name, two bytes of the zlib header, and the first block, whose
        # bits 1 and 2 are 0 if the block is stored as it is.
        at = head.find(b"IDAT")
        return 0 <= at < len(head) - 6 and head[at + 6] & 0b110 != 0
    return found in COMPRESSED


def seeded(digest: int, seed: int | str) -> float:
    """A number in 0..1 that depends on a digest and a seed."""
    mixed = hashlib.blake2b(f"{seed}/{digest}".encode(), digest_size=BITS // 8).digest()
    return int.from_bytes(mixed, "big") / 2**BITS


def images_digest(paths: Sequence[Path], truth: NDArray[np.int64] | NDArray[np.bool_]) -> str:
    """16 hexadecimal digits from the content of N images and their true classes, in any order.

    `truth` has a row for each image: int64[N], or bool[N, K] of images with several classes.
    """
    each = sorted(
        content_digest(path).to_bytes(8, "big") + np.asarray(row).tobytes()
        for path, row in zip(paths, truth, strict=True)
    )
    return hashlib.sha256(b"".join(each)).hexdigest()[:16]
