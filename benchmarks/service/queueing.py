"""The tail latency of an ideal server, in which requests wait only in the queue.

The ideal server takes the oldest request as soon as one of its slots is free. Nothing disturbs it:
no noise of a machine, no batch, no network. A measured tail can be better only if one image is
spread over several slots. If the measured tail is not much worse, scheduling can gain little.
"""

import heapq
import math

import numpy as np
from numpy.typing import NDArray

from service.bench.report.statistics import percentile

CUSTOMERS = 200_000


def busy_share(service_ms: NDArray[np.float64], places: int, per_second: float) -> float:
    """The load of such a server if `per_second` requests arrive that take `service_ms` each."""
    return float(per_second * service_ms.mean() / 1e3 / places)


def tail_ratio(
    service: NDArray[np.float64], places: int, load: float, *, customers: int = CUSTOMERS
) -> float:
    """p99 over p50 of the time in such a queue, waiting and service; Poisson arrivals.

    It is infinite from a load of 1 on, because the queue then grows without end.

    Service times are drawn from `service`, in any unit. `load` is the share of the capacity of all
    `places` that is asked for.
    """
    if load >= 1:
        return math.inf
    random = np.random.default_rng(0)
    takes = random.choice(service, customers)
    arrivals = np.cumsum(random.exponential(takes.mean() / (places * load), customers))
    free_at = [0.0] * places
    spent = np.empty(customers)
    for number, (came, needs) in enumerate(zip(arrivals.tolist(), takes.tolist(), strict=True)):
        done = max(came, free_at[0]) + needs
        heapq.heapreplace(free_at, done)
        spent[number] = done - came
    return percentile(spent, 99) / percentile(spent, 50)
