"""Queues whose answer is known: one clerk, a fixed time for each, first come first served."""

import math

import numpy as np
from numpy.typing import NDArray


def finished(
    due_s: NDArray[np.float64], service_s: float, stall_s: tuple[float, float] = (0.0, 0.0)
) -> NDArray[np.float64]:
    """When each request is done (Lindley's recursion); the clerk is away in [start, start + s)."""
    start, length = stall_s
    free_at, done = 0.0, np.empty_like(due_s)
    for index, due in enumerate(due_s):
        begin = max(free_at, due)
        if start <= begin < start + length:
            begin = start + length
        free_at = done[index] = begin + service_s
    return done


def waits_within(per_second: float, service_s: float, wait_s: float) -> float:
    """M/D/1: the share of requests that wait at most `wait_s` (Erlang 1909, Crommelin 1932)."""
    load = per_second * service_s
    total = 0.0
    for k in range(int(wait_s / service_s) + 1):
        x = per_second * (k * service_s - wait_s)
        total += x**k / math.factorial(k) * math.exp(-x)
    return (1 - load) * total


def md1_percentile_s(per_second: float, service_s: float, percent: float) -> float:
    """The percentile of the time in an M/D/1 queue, waiting and service."""
    low, high = 0.0, 15 * service_s  # the alternating series keeps its digits up to here
    for _ in range(60):
        middle = (low + high) / 2
        if waits_within(per_second, service_s, middle) < percent / 100:
            low = middle
        else:
            high = middle
    return high + service_s
