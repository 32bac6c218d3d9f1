"""The ideal queue of the benchmark of tails, against queues whose answer is known."""

import math

import numpy as np
import pytest

from benchmarks.service.queueing import busy_share, tail_ratio
from tests.support.queueing import md1_percentile_s


def test_one_place_and_a_fixed_time_is_an_md1_queue() -> None:
    exact = md1_percentile_s(0.5, 1.0, 99) / md1_percentile_s(0.5, 1.0, 50)
    assert tail_ratio(np.array([7.0]), 1, 0.5) == pytest.approx(exact, rel=0.03)


def test_one_place_and_exponential_times_is_an_mm1_queue() -> None:
    """Whose time in the system is exponential, at any load."""
    times = np.random.default_rng(1).exponential(size=100_000)
    got = tail_ratio(times, 1, 0.3)
    assert got == pytest.approx(math.log(100) / math.log(2), rel=0.03)


def test_nobody_waits_where_nothing_is_asked() -> None:
    assert tail_ratio(np.array([1.0, 1.0, 2.0]), 4, 1e-4) == pytest.approx(2.0, rel=0.01)


def test_more_places_make_shorter_tails_at_the_same_load() -> None:
    assert tail_ratio(np.array([1.0]), 8, 0.5) < tail_ratio(np.array([1.0]), 1, 0.5)


def test_the_load_of_an_offered_rate() -> None:
    """181 requests of 6.8 ms each in a second keep two places busy for 62% of the time."""
    assert busy_share(np.array([5.8, 7.8]), 2, 181.0) == pytest.approx(0.6154)


def test_a_queue_that_is_offered_too_much_has_no_tail_ratio() -> None:
    assert tail_ratio(np.array([1.0]), 2, 1.0) == math.inf
