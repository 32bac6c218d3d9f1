"""The images of a run that are most worth labelling next."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from service.errors import UsageError

MOST = 100_000
"""The most images that may be asked for: they are kept in memory."""
MARGIN, UNKNOWN = "margin", "unknown"
COLUMNS = pa.schema(
    [
        ("path", pa.string()),
        ("why", pa.string()),
        ("label", pa.string()),
        ("top1_id", pa.string()),
        ("top1_probability", pa.float32()),
        ("margin", pa.float32()),
        ("entropy", pa.float32()),
        ("unknown_score", pa.float32()),
    ]
)

Entry = tuple[float, int, dict[str, Any]]
"""The rank (the highest is picked first), minus the number of the row, and its columns. Numbers
differ, so two entries never compare their columns."""


@dataclass
class Uncertain:
    """Picks the `most` images in one pass over the rows. Its size depends on `most`, not on rows.

    Every image is of one of two kinds. `unknown`: none of the classes fits, by the unknown score;
    the highest scores come first. `margin`: all other images; those whose two likeliest classes
    have almost the same probability come first. (Multi-label: those with a class close to its
    threshold.) Both kinds take turns, because a list of one kind would hide the other.
    """

    most: int
    _rows: int = 0
    _heaps: dict[str, list[Entry]] = field(default_factory=lambda: {MARGIN: [], UNKNOWN: []})

    def __post_init__(self) -> None:
        if not 1 <= self.most <= MOST:
            raise UsageError(f"--uncertain must be from 1 to {MOST}, but got {self.most}")

    def clear(self) -> None:
        """Forget all images, and begin again."""
        self._rows = 0
        self._heaps = {MARGIN: [], UNKNOWN: []}

    def add(self, rows: pa.Table) -> None:
        """Add the rows of a part. Rows with an error are skipped."""
        wanted = (*COLUMNS.names, "status", "is_unknown")
        names = [name for name in wanted if name in rows.schema.names]
        for values in rows.select(names).to_pylist():
            self._rows += 1
            if values["status"] != "ok":
                continue
            if values.get("is_unknown"):
                self._keep(UNKNOWN, values["unknown_score"], values)
            else:
                self._keep(MARGIN, -values["margin"], values)

    def _keep(self, why: str, rank: float, values: dict[str, Any]) -> None:
        heap, entry = self._heaps[why], (rank, -self._rows, values)
        keep: Callable[[list[Entry], Entry], object] = (
            heapq.heappush if len(heap) < self.most else heapq.heappushpop
        )
        keep(heap, entry)

    def table(self) -> pa.Table:
        """The picked images, both kinds by turns, the most uncertain of each kind first."""
        picked: list[dict[str, Any]] = []
        queues = {why: iter(sorted(heap, reverse=True)) for why, heap in self._heaps.items()}
        while len(picked) < self.most and queues:
            for why, queue in list(queues.items()):
                if (entry := next(queue, None)) is None:
                    del queues[why]
                elif len(picked) < self.most:
                    picked.append({**entry[2], "why": why})
        return pa.Table.from_pylist(picked, COLUMNS)
