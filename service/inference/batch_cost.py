"""How large a batch must be for its views to be cheap.

On a CPU core a network often takes as long for each view of a batch of ten as for a view alone. A
larger batch then saves nothing, and every image in it waits for all others.
"""

import time
from collections.abc import Callable

LEAST_GAIN = 0.03
"""A batch of twice the size must save at least this share of the time of each view."""
TRIES = 5


def enough_views(
    run: Callable[[int], object], most: int, clock: Callable[[], float] = time.thread_time
) -> int:
    """The batch size, in views, from which doubling saves less than 3% of the time of each view.

    `run` runs a batch of so many views. The sizes 1, 2, 4 and so on up to `most` are tried until
    one is enough. The clock reads the processor time of this thread by default, because other
    programs do not change it much. The shortest of five runs counts.
    """
    size, seconds = 1, _seconds_per_view(run, 1, clock)
    while 2 * size <= most:
        of_double = _seconds_per_view(run, 2 * size, clock)
        if of_double > (1 - LEAST_GAIN) * seconds:
            return size
        size, seconds = 2 * size, of_double
    return most


def _seconds_per_view(
    run: Callable[[int], object], views: int, clock: Callable[[], float]
) -> float:
    taken: list[float] = []
    for _ in range(TRIES):
        started = clock()
        run(views)
        taken.append(clock() - started)
    return min(taken) / views
