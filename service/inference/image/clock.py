"""The limit on processor time, and the file that decoders read."""

import io
import operator
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from service.errors import TooLarge

_LINE_BYTES = 256
Buffer = bytes | memoryview
T = TypeVar("T")
CHECK_EVERY = 1024
"""Items between two checks of the clock: each check is a system call."""
CHECK_EVERY_BYTES = 64 * 1024
"""Bytes that are read from a file between two checks of the clock. A read counts as at least 256
bytes."""


class Clock:
    """Processor time of the thread that makes the clock. A busy machine fails no image."""

    def __init__(self, limit_ms: int) -> None:
        self._limit_ms = limit_ms
        self._end_s = time.thread_time() + limit_ms / 1000

    def check(self) -> None:
        """Check the time, and return if some is left.

        Raises:
            TooLarge: the time is up.
        """
        late_s = time.thread_time() - self._end_s
        if late_s > 0:
            raise TooLarge(
                f"decoding took {self._limit_ms + late_s * 1000:.0f} ms and was not done; "
                f"the limit is {self._limit_ms} ms (QUINCUNX_MAX_DECODE_MS)"
            )

    def watch(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items, and check the time every `CHECK_EVERY` items.

        Raises:
            TooLarge: the time is up.
        """
        for number, item in enumerate(items):
            if number % CHECK_EVERY == 0:
                self.check()
            yield item


class Kept:
    """The parts of a file that a decoder sees, as slices of it. Neighbouring parts become one."""

    def __init__(self, data: bytes, clock: Clock) -> None:
        self._view = memoryview(data)
        self._clock = clock
        self._begin, self._end = 0, 0
        self.pieces: list[Buffer] = []

    def keep(self, begin: int, end: int | None = None) -> None:
        """Keep a part of the file, after those that were kept before."""
        end = len(self._view) if end is None else end
        if begin != self._end or not self.pieces:
            self._begin = begin
            self.pieces.append(b"")
        self._end = end
        self.pieces[-1] = self._view[self._begin : end]

    def put(self, piece: bytes) -> None:
        """Add bytes that are not in the file."""
        self.pieces.append(piece)
        self._end = -1

    def open(self) -> "ClockedFile":
        """The parts as one file."""
        return ClockedFile(self.pieces, self._clock)


class ClockedFile(io.BytesIO):
    """A file of pieces in memory, which checks the clock at each read.

    A decoder in C cannot be stopped from outside, but it reads 64 kB at a time, and each read can
    stop it. The pieces are slices of the upload, so that metadata is left out without a copy.
    """

    def __init__(self, pieces: Sequence[Buffer], clock: Clock) -> None:
        super().__init__()
        self._pieces = pieces
        self._clock = clock
        self._size = sum(len(piece) for piece in pieces)
        self._at, self._unwatched = 0, 0
        self._piece, self._start = 0, 0  # the piece that holds the position, and its offset

    def read(self, size: int | None = -1, /) -> bytes:
        """Read on.

        Raises:
            TooLarge: the time is up.
        """
        left = max(0, self._size - self._at)
        left = left if size is None or size < 0 else min(size, left)
        self._unwatched += max(left, 256)
        if self._unwatched >= CHECK_EVERY_BYTES:
            self._clock.check()
            self._unwatched = 0
        parts: list[bytes] = []
        while left:
            piece = self._pieces[self._piece]
            begin = self._at - self._start
            if begin >= len(piece):
                self._piece, self._start = self._piece + 1, self._start + len(piece)
                continue
            parts.append(bytes(piece[begin : begin + left]))
            self._at += len(parts[-1])
            left -= len(parts[-1])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def readline(self, size: int | None = -1, /) -> bytes:
        """Read up to the end of a line."""
        start, line = self._at, b""
        while (size is None or size < 0 or len(line) < size) and b"\n" not in line:
            more = self.read(_LINE_BYTES)
            if not more:
                break
            line += more
        line = line[: line.find(b"\n") + 1 or None]
        line = line if size is None or size < 0 else line[:size]
        self.seek(start + len(line))
        return line

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move the position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + operator.index(offset))
        if self._at < self._start:
            self._piece, self._start = 0, 0
        return self._at

    def cut(self, size: int) -> None:
        """Let the file end earlier."""
        self._size = min(size, self._size)

    def tell(self) -> int:
        """The position."""
        return self._at

    def getvalue(self) -> bytes:
        """The whole file: libtiff takes it at once."""
        self._clock.check()
        whole = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        return whole if isinstance(whole, bytes) else bytes(whole)

    def close(self) -> None:
        """Free the pieces."""
        self._pieces, self._size = (), 0
        super().close()
