"""Image file directories: the tags of TIFF and EXIF, read one by one.

A directory is read without its values. The value of an entry is read when it is needed.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Order = Literal["<", ">"]
Number = int | float

MAX_ENTRIES = 65_535
MAX_VALUES = 1024
"""Tags that are read here have a value for each sample of a pixel, or a few."""
_TYPES = {  # type in the file -> (bytes, struct code); None: no number
    1: (1, "B"), 2: (1, None), 3: (2, "H"), 4: (4, "I"), 5: (8, None), 6: (1, "b"),
    7: (1, None), 8: (2, "h"), 9: (4, "i"), 10: (8, None), 11: (4, "f"), 12: (8, "d"),
    13: (4, "I"), 16: (8, "Q"), 17: (8, "q"), 18: (8, "Q"),
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One tag: where its values lie in the file."""

    type: int
    count: int
    at: int
    raw: bytes
    """The entry itself, as it is in the file: 12 bytes, or 20 in BigTIFF."""


@dataclass(frozen=True)
class Directory:
    """The tags of one image."""

    data: bytes | memoryview
    order: Order
    big: bool
    entries: dict[int, Entry]

    def numbers(self, tag: int) -> Sequence[Number] | None:
        """The values of a tag; None: it is missing, holds no numbers, or lies outside the file."""
        entry = self.entries.get(tag)
        if entry is None:
            return None
        size, code = _TYPES.get(entry.type, (0, None))
        end = entry.at + entry.count * size
        if code is None or not 0 < entry.count <= MAX_VALUES or end > len(self.data):
            return None
        return struct.unpack(f"{self.order}{entry.count}{code}", self.data[entry.at : end])

    def array(self, tag: int) -> NDArray[np.uint64]:
        """All values of a tag of integers, of any number; empty: the tag is missing or broken."""
        entry = self.entries.get(tag)
        size, code = _TYPES.get(entry.type, (0, None)) if entry else (0, None)
        if entry is None or code not in ("B", "H", "I", "Q"):
            return np.zeros(0, np.uint64)
        part = self.data[entry.at : entry.at + entry.count * size]
        count = len(part) // size
        return np.frombuffer(part, f"{self.order}u{size}", count).astype(np.uint64)

    def integer(self, tag: int) -> int | None:
        """The first value of a tag of integers."""
        values = self.numbers(tag)
        return values[0] if values and isinstance(values[0], int) else None

    def text(self, tag: int) -> bytes | None:
        """The bytes of a tag of text or of undefined type."""
        entry = self.entries.get(tag)
        if entry is None or entry.type not in (1, 2, 7):
            return None
        return bytes(self.data[entry.at : entry.at + entry.count]).rstrip(b"\0")


def read(data: bytes | memoryview) -> Directory | None:
    """The first directory of a TIFF file or an EXIF block; None: there is none."""
    order: Order | None = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]))  # type: ignore[assignment]
    if order is None or len(data) < 8:
        return None
    big = 43 in (data[2], data[3])
    try:
        return _directory(data, order, big)
    except (struct.error, OverflowError):  # the file ends before its first directory begins
        return None


def _directory(data: bytes | memoryview, order: Order, big: bool) -> Directory:
    (at,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, at)
    at += 8 if big else 2
    head, inline = (order + "HHQ", 8) if big else (order + "HHI", 4)
    size = struct.calcsize(head) + inline
    entries: dict[int, Entry] = {}
    for start in range(at, at + min(count, MAX_ENTRIES) * size, size):
        if start + size > len(data):
            break
        tag, kind, values = struct.unpack_from(head, data, start)
        value_at = start + size - inline
        if values * _TYPES.get(kind, (0, None))[0] > inline:
            (value_at,) = struct.unpack_from(order + ("Q" if big else "I"), data, value_at)
        entry = Entry(kind, values, value_at, bytes(data[start : start + size]))
        entries.setdefault(tag, entry)  # as libtiff: the first of two counts
    return Directory(data, order, big, entries)
