"""How much memory may grow in a soak."""

import pytest

from benchmarks.service.soak import FULL, GROWTH, SETTLED, allowed_growth


def test_a_shorter_soak_allows_the_same_growth_for_each_request() -> None:
    of_full = GROWTH / (FULL - SETTLED)
    assert allowed_growth(100_000) / (100_000 - SETTLED) == pytest.approx(of_full)


def test_a_longer_soak_allows_no_more() -> None:
    assert allowed_growth(FULL) == allowed_growth(3 * FULL) == GROWTH


def test_a_soak_in_which_memory_does_not_settle_is_refused() -> None:
    with pytest.raises(SystemExit, match="more than 5000 requests, but got 5000"):
        allowed_growth(SETTLED)
