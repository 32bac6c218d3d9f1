"""The last answers of each model as counts in bins, in the memory that all workers share.

Each worker counts its own last answers: a new answer adds to its bins, and the oldest one is taken
from them. The sum over the living workers is the window of the server. Only bins are kept.
"""

from collections import deque
from collections.abc import Mapping
from typing import Literal, get_args

from service.api.observability.drift.stability import stability_index
from service.api.observability.ledger import Ledger, Series
from service.package.manifest import Mode
from service.package.parts import TOP_PROBABILITY_BINS, Reference
from service.package.reference import top_probability_bin, unknown_bin

What = Literal["top_probability", "class", "unknown_score"]
WHATS: tuple[What, ...] = get_args(What)
SERIES = "drift_window"
Totals = Mapping[Series, list[float]]


class Window:
    """The last answers of one model in this worker, and the index over all workers."""

    def __init__(
        self, ledger: Ledger, tag: str, references: Mapping[Mode, Reference], answers: int
    ) -> None:
        """`references` are those of the served precision. `answers` is this worker's share."""
        self._ledger = ledger
        self._tag = tag
        self._references = references
        self._most = answers
        self._cells: dict[tuple[Mode, What], memoryview[float]] = {}
        self._kept: deque[list[tuple[memoryview[float], int]]] = deque()

    def add(self, mode: Mode, index: int, probability: float, score: float | None) -> None:
        """Count an answer. Without a reference for its mode it is not counted."""
        reference = self._references.get(mode)
        if reference is None:
            return
        bins: dict[What, int] = {
            "top_probability": top_probability_bin(probability), "class": index
        }  # fmt: skip
        if score is not None and reference.unknown:
            bins["unknown_score"] = unknown_bin(reference.unknown_edges, score)
        counted = [(self._numbers(mode, what), one) for what, one in bins.items()]
        for cells, one in counted:
            cells[one] += 1
        self._kept.append(counted)
        if len(self._kept) > self._most:
            for cells, one in self._kept.popleft():
                cells[one] -= 1

    def clear(self) -> None:
        """Take all answers of this worker out of the window."""
        while self._kept:
            for cells, one in self._kept.popleft():
                cells[one] -= 1

    def indices(self, totals: Totals, least: int) -> dict[What, float]:
        """The index of each distribution that at least `least` answers were counted in.

        Each mode has its own reference. They are mixed in proportion to the answers of the window.
        """
        found: dict[What, float] = {}
        for what in WHATS:
            known: dict[Mode, list[float]] = {}
            for mode in self._references:
                own = totals.get(self._series(mode, what))
                if own is not None and sum(own) > 0:
                    known[mode] = own
            answers = sum(sum(own) for own in known.values())
            if not known or answers < least:
                continue
            observed = [sum(bins) for bins in zip(*known.values(), strict=True)]
            expected = [0.0] * len(observed)
            for mode, own in known.items():
                weight = sum(own) / answers
                for bin_, share in enumerate(_shares(self._references[mode], what)):
                    expected[bin_] += weight * share
            images = min(self._references[mode].images for mode in known)
            found[what] = stability_index(observed, expected, images)
        return found

    def _numbers(self, mode: Mode, what: What) -> "memoryview[float]":
        cells = self._cells.get((mode, what))
        if cells is None:
            cells = self._cells[mode, what] = self._ledger.numbers(self._series(mode, what))
        return cells

    def _series(self, mode: Mode, what: What) -> Series:
        bins = len(_shares(self._references[mode], what))
        return Series("gauge", SERIES, (self._tag, mode, what), bins)


def _shares(reference: Reference, what: What) -> tuple[float, ...]:
    if what == "class":
        return reference.classes
    if what == "unknown_score":
        return reference.unknown
    assert len(reference.top_probability) == TOP_PROBABILITY_BINS  # noqa: S101  (the manifest)
    return reference.top_probability
