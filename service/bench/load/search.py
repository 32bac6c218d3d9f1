"""Find the highest rate that keeps the SLO, with few tries. A single failure does not count."""

import math
from collections.abc import Callable

TOLERANCE = 0.03
"""The search ends when the rate that keeps the SLO and the rate that fails are this close."""
GROWTH = 1.5
MOST_STRIDES = 12


def highest(keeps: Callable[[float], bool], start: float) -> float | None:
    """The highest rate for which `keeps` is true, within `TOLERANCE`; None if no tried rate is.

    The rate grows from `start`, or halves if `start` fails. Then the range is bisected. A failure
    is tried once more before it counts, because on a shared machine another process may have
    caused it.
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
    while high / low > 1 + TOLERANCE:
        middle = math.sqrt(low * high)
        if kept(middle):
            low = middle
        else:
            high = middle
    return low
