"""The distributions with which drift compares answers: their bins, and how they are fitted."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from service.package.parts import TOP_PROBABILITY_BINS, Reference

DIGITS = 6


def top_probability_bin(probability: float) -> int:
    """The bin of a top probability: bins of equal width from 0 to 1."""
    return min(int(probability * TOP_PROBABILITY_BINS), TOP_PROBABILITY_BINS - 1)


def unknown_bin(edges: Sequence[float], score: float) -> int:
    """The bin of an unknown score: up to the first edge, between two edges, or above the last."""
    return bisect_left(edges, score)


def reference_of(
    probabilities: NDArray[np.floating],
    scores: NDArray[np.floating] | None = None,
    thresholds: Iterable[float] = (),
) -> Reference:
    """Count answers in bins: float[N, K] probabilities, N > 0, and N unknown scores or None.

    `thresholds` are the edges between the bins of the scores.
    """
    images, classes = probabilities.shape
    tops: list[float] = probabilities.max(1).tolist()
    given: list[float] = [] if scores is None else scores.tolist()
    edges = sorted(set(thresholds)) if given else []
    return Reference(
        images=images,
        top_probability=_shares(map(top_probability_bin, tops), TOP_PROBABILITY_BINS),
        classes=_shares(probabilities.argmax(1).tolist(), classes),
        unknown_edges=tuple(edges),
        unknown=_shares((unknown_bin(edges, one) for one in given), len(edges) + 1)
        if edges
        else (),
    )


def _shares(bins: Iterable[int], count: int) -> tuple[float, ...]:
    counts = np.bincount(list(bins), minlength=count)
    return tuple(round(float(share), DIGITS) for share in counts / counts.sum())
