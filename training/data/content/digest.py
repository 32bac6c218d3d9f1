"""A number for the content of an image file."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

READ_BYTES = 64 * 1024
"""The start of a photo is enough to tell it from every other: compressed pixels begin in it."""
BITS = 64


def content_digest(path: Path) -> int:
    """A uniform 64-bit number from a file's length and its first 64 KiB.

    Equal files have equal digests, wherever they are and whatever their names are. A file that
    cannot be read gets a digest of its name: the decoder reports such a file later.
    """
    digest = hashlib.blake2b(digest_size=BITS // 8)
    try:
        with path.open("rb") as file:
            digest.update(path.stat().st_size.to_bytes(8, "big"))
            digest.update(file.read(READ_BYTES))
    except OSError:
        digest.update(path.name.encode("utf-8", "surrogateescape"))
    return int.from_bytes(digest.digest(), "big")


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
