"""What a load would do to tails if nothing but the queue made anybody wait.

A server that takes whoever came first as soon as one of its places is free, and that nothing ever
disturbs: no noise of a machine, no batch, no network. What is measured can be better only where one
image is spread over several places; where it is not much worse, little is left to schedule.
"""

import heapq

import numpy as np
from numpy.typing import NDArray

from service.bench.report.statistics import percentile

CUSTOMERS = 200_000


def tail_ratio(
    service: NDArray[np.float64], places: int, load: float, *, customers: int = CUSTOMERS
) -> float:
    """p99 over p50 of the time in such a queue, waiting and service; Poisson arrivals.

    Service times are drawn from `service`, in any unit. `load` is the share of the capacity of all
    `places` that is asked for.
    """
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
