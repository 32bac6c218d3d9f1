"""The bins in which a reference counts answers. Fitting and serving use the same functions."""

from bisect import bisect_left
from collections.abc import Sequence

from service.package.parts import TOP_PROBABILITY_BINS


def top_probability_bin(probability: float) -> int:
    """The bin of a top probability: bins of equal width from 0 to 1."""
    return min(int(probability * TOP_PROBABILITY_BINS), TOP_PROBABILITY_BINS - 1)


def unknown_bin(edges: Sequence[float], score: float) -> int:
    """The bin of an unknown score: up to the first edge, between two edges, or above the last."""
    return bisect_left(edges, score)
