"""Storage of metrics: in a slot of the shared memory, or in this process alone.

A slot holds a list of series and their numbers. A worker that takes the slot of a dead one
continues its counters, so that they never fall, and sets its gauges to zero.
"""

import json
import logging
import struct
from array import array
from collections.abc import Iterator
from threading import Lock
from typing import Literal, NamedTuple

from service.api.server.shared_memory import Shared, Slot

logger = logging.getLogger("quincunx.metrics")

Kind = Literal["counter", "gauge", "histogram"]
Labels = tuple[str, ...]

NAMES_BYTES = 192 * 1024
_USED_BYTES = 8


class Series(NamedTuple):
    """The numbers of one metric with one set of labels."""

    kind: Kind
    name: str
    labels: Labels
    numbers: int
    """A histogram has several: one for each bucket and their sum. So has a window of drift."""


class Ledger:
    """The series of this process, and the sums over all processes of the server."""

    def __init__(self, shared: Shared | None = None, slot: Slot | None = None) -> None:
        """Without `shared` and `slot` it counts for this process alone."""
        self._shared = shared
        self._page = _Page(slot.data) if slot else None
        self._lock = Lock()
        self._own: dict[Series, memoryview[float]] = {}
        """Series of this process alone, if there is no shared memory."""

    def numbers(self, series: Series) -> "memoryview[float]":
        """The numbers of a series. They start at 0, or at the values of a dead worker."""
        with self._lock:
            if series in self._own:
                return self._own[series]
            shared = self._page.numbers(series) if self._page else None
            if shared is not None:
                return shared
            if self._page and not self._own:
                logger.warning(
                    "the shared memory for metrics is full: %s and later ones are counted in "
                    "this worker only",
                    series.name,
                )
            return self._own.setdefault(series, memoryview(array("d", [0.0] * series.numbers)))

    def totals(self) -> dict[Series, list[float]]:
        """Every series of the server, summed over its workers; gauges over those that live."""
        sums: dict[Series, list[float]] = {}
        if self._shared is not None:
            for index in range(self._shared.slots):
                alive = self._shared.alive(index)
                for series, numbers in read_slot(self._shared.data(index)):
                    if alive or series.kind != "gauge":
                        _add(sums, series, numbers)
        with self._lock:
            own = list(self._own.items())
        for series, numbers in own:
            _add(sums, series, list(numbers))
        return sums


class _Page:
    """The slot of this worker, as a list of series that grows."""

    def __init__(self, data: memoryview) -> None:
        self._names = data[:NAMES_BYTES]
        self._numbers = data[NAMES_BYTES:].cast("d")
        self._known: dict[Series, int] = {}
        self._filled = 0
        for series, _ in read_slot(bytes(data)):
            if series.kind == "gauge":
                for at in range(series.numbers):
                    self._numbers[self._filled + at] = 0.0
            self._known[series] = self._filled
            self._filled += series.numbers
        self._used = max(_used(self._names), _USED_BYTES)

    def numbers(self, series: Series) -> "memoryview[float] | None":
        """The numbers of a series, which is added if it is new; None if there is no room."""
        start = self._known.get(series)
        if start is None:
            start = self._filled
            line = json.dumps(series).encode() + b"\n"
            end = self._used + len(line)
            if end > len(self._names) or start + series.numbers > len(self._numbers):
                return None
            self._names[self._used : end] = line
            self._names[:_USED_BYTES] = struct.pack("Q", end)  # now the others read the line
            self._known[series] = start
            self._used, self._filled = end, start + series.numbers
        return self._numbers[start : start + series.numbers]


def read_slot(data: bytes) -> Iterator[tuple[Series, list[float]]]:
    """The series in the data of a slot."""
    start = NAMES_BYTES
    for line in data[_USED_BYTES : _used(data)].splitlines():
        kind, name, labels, count = json.loads(line)
        yield (
            Series(kind, name, tuple(labels), count),
            list(struct.unpack_from(f"{count}d", data, start)),
        )
        start += count * 8


def _used(names: bytes | memoryview) -> int:
    (used,) = struct.unpack_from("Q", names)
    return int(used)


def _add(sums: dict[Series, list[float]], series: Series, numbers: list[float]) -> None:
    before = sums.get(series)
    sums[series] = [a + b for a, b in zip(before, numbers, strict=True)] if before else numbers
