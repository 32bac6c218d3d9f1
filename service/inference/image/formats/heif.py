"""The boxes of an AVIF file: which items it has, and where their data lies.

ISO 14496-12 (boxes, `iinf`, `iloc`) and ISO 23008-12 (pictures as items).
"""

from collections.abc import Iterator
from typing import NamedTuple

_IN_FILE, _IN_META = 0, 1


class Span(NamedTuple):
    """A part of a file."""

    begin: int
    end: int


class Item(NamedTuple):
    """An item, and where the four letters of its type lie."""

    id: int
    kind: bytes
    kind_at: int


class Place(NamedTuple):
    """Where the data of an item lies."""

    id: int
    parts: list[Span]


class Boxes:
    """The boxes of a file that describe its still pictures."""

    def __init__(self, data: bytes) -> None:
        """Find them.

        Raises:
            ValueError: a box is broken, or there is no still picture.
        """
        self._data = data
        meta = self._inside(Span(0, len(data))).get(b"meta")
        if meta is None:
            raise ValueError("it has no still picture")
        self._meta = self._inside(Span(meta.begin + 4, meta.end))

    def items(self) -> Iterator[Item]:
        """Every item of the file."""
        box = self._meta.get(b"iinf", Span(0, 0))
        at = box.begin + (6 if self._number(box.begin, 1) == 0 else 8)
        while at + 8 <= box.end:
            id_bytes = 4 if self._number(at + 8, 1) == 3 else 2
            kind_at = at + 12 + id_bytes + 2
            kind = self._data[kind_at : kind_at + 4]
            yield Item(self._number(at + 12, id_bytes), kind, kind_at)
            at += self._size(Span(at, box.end))

    def places(self) -> Iterator[Place]:
        """Where the data of every item lies.

        Raises:
            ValueError: the table is cut short, or an item is made of other items.
        """
        box = self._meta.get(b"iloc", Span(0, 0))
        if box.end - box.begin < 8:
            return
        version, at = self._number(box.begin, 1), box.begin + 4

        def take(size: int) -> int:
            nonlocal at
            if at + size > box.end:
                raise ValueError("its table of items is cut short")
            at += size
            return self._number(at - size, size)

        sizes = take(2)
        offset_bytes, length_bytes = sizes >> 12, sizes >> 8 & 15
        base_bytes, index_bytes = sizes >> 4 & 15, sizes & 15 if version else 0
        wide = 4 if version == 2 else 2
        for _ in range(take(wide)):
            item_id = take(wide)
            method = take(2) & 15 if version else _IN_FILE
            take(2)  # which file
            base = take(base_bytes)
            within = self._within(method)
            parts: list[Span] = []
            for _ in range(take(2)):
                take(index_bytes)
                begin = within.begin + base + take(offset_bytes)
                length = take(length_bytes)
                end = begin + length if length else within.end
                parts.append(Span(begin, min(end, within.end)))
            yield Place(item_id, parts)

    def _within(self, method: int) -> Span:
        if method == _IN_FILE:
            return Span(0, len(self._data))
        if method == _IN_META:
            return self._meta.get(b"idat", Span(0, 0))
        raise ValueError("an item is made of other items")

    def _inside(self, span: Span) -> dict[bytes, Span]:
        """The first box of each type, without its head."""
        found: dict[bytes, Span] = {}
        at = span.begin
        while at + 8 <= span.end:
            size = self._size(Span(at, span.end))
            head = 16 if self._number(at, 4) == 1 else 8
            box = Span(at + head, min(at + size, span.end))
            found.setdefault(self._data[at + 4 : at + 8], box)
            at += size
        return found

    def _size(self, box: Span) -> int:
        size = self._number(box.begin, 4)
        if size == 1:
            size = self._number(box.begin + 8, 8)
        elif size == 0:
            size = box.end - box.begin
        if size < 8:
            raise ValueError("a box is shorter than its head")
        return size

    def _number(self, at: int, size: int) -> int:
        return int.from_bytes(self._data[at : at + size], "big")
