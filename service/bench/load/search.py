"""Find the highest rate that keeps a promise, trying few rates and believing no single failure."""

import math
from collections.abc import Callable

TOLERANCE = 0.03
"""The rate that keeps and the rate that fails end up this close."""
GROWTH = 1.5
MOST_STRIDES = 12


def highest(
    keeps: Callable[[float], bool], start: float, tolerance: float = TOLERANCE
) -> float | None:
    """The highest rate for which `keeps`, within `tolerance`; None where no rate tried did.

    Grows from `start` (or halves, where that fails already), then bisects. A failure is tried once
    more before it counts: on a shared machine one of them may be somebody else's.
    """

    def kept(rate: float) -> bool:
        return keeps(rate) or keeps(rate)

    low, high = 0.0, math.inf
    rate = start
    for _ in range(MOST_STRIDES):
        if kept(rate):
            low, rate = rate, rate * GROWTH
        else:
            high, rate = rate, rate / 2
        if low and high < math.inf:
            break
    else:
        return low or None
    while high / low > 1 + tolerance:
        middle = math.sqrt(low * high)
        if kept(middle):
            low = middle
        else:
            high = middle
    return low
