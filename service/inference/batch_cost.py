"""How large a batch must be for its views to be cheap.

On a CPU core a network often takes as long for each view of a batch of ten as for a view alone. A
larger batch then saves nothing, and every image in it waits for all others.
"""

import time
from collections.abc import Callable

ENOUGH = 0.05
"""A size is enough if no larger one saves more than this share of the time of each view.

Starts on a busy machine measure times of the same size that differ by up to 2%. With a smaller
share they choose different sizes.
"""
FIRST = 4
"""The sizes up to this one are measured in any case."""
TRIES = 5
LEAST_TRIES = 2
LONG_S = 0.3
"""After this time a size is not tried again. A disturbance changes a long run by a small share."""


def enough_views(
    run: Callable[[int], object], most: int, clock: Callable[[], float] = time.thread_time
) -> int:
    """The smallest batch size, in views, whose views are at most 5% dearer than the cheapest.

    `run` runs a batch of so many views. The sizes 1, 2 and 4 are measured, and then 8, 16 and so on
    up to `most` while the largest is more than 5% cheaper than its half. Sizes take turns, so that
    a slow moment of the machine meets all of them. The shortest run counts, of five, or of fewer if
    they are long. The clock reads the processor time of this thread by default, because other
    programs do not change it much.
    """
    sizes = [1]
    while sizes[-1] < FIRST and 2 * sizes[-1] <= most:
        sizes.append(2 * sizes[-1])
    seconds = _seconds_per_view(run, sizes, clock)
    while 2 * sizes[-1] <= most and seconds[sizes[-1]] < (1 - ENOUGH) * seconds[sizes[-1] // 2]:
        pair = [sizes[-1], 2 * sizes[-1]]
        for size, found in _seconds_per_view(run, pair, clock).items():
            seconds[size] = min(found, seconds.get(size, found))
        sizes.append(pair[1])
    return next(size for size in sizes if (1 - ENOUGH) * seconds[size] <= min(seconds.values()))


def _seconds_per_view(
    run: Callable[[int], object], sizes: list[int], clock: Callable[[], float]
) -> dict[int, float]:
    taken: dict[int, list[float]] = {size: [] for size in sizes}
    began = clock()
    for tries in range(TRIES):
        if tries >= LEAST_TRIES and clock() - began > LONG_S:
            break
        for size in sizes:
            started = clock()
            run(size)
            taken[size].append(clock() - started)
    return {size: min(own) / size for size, own in taken.items()}
