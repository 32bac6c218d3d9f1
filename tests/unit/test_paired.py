"""Two methods on the same images: only the images where one of them alone is right count."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.package.card.paired_table import COLUMNS, cells
from service.package.manifest import PairedMetrics
from training.evaluation.paired import exact, paired

COUNTS = st.integers(min_value=0, max_value=60)


def answers(right: list[bool]) -> np.ndarray:
    """Probabilities of two classes for images of class 0."""
    return np.array([[0.9, 0.1] if one else [0.2, 0.8] for one in right])


def test_counts_and_difference_by_hand() -> None:
    before = [True, True, False, False, True]
    after = [True, False, True, True, True]
    labels = np.zeros(5, dtype=np.int64)
    got = paired(answers(before), answers(after), labels)
    assert (got.corrected, got.spoiled) == (2, 1)
    assert got.difference == pytest.approx(1 / 5)
    assert got.nll_difference == pytest.approx((np.log(0.2) - np.log(0.9)) / 5)
    assert PairedMetrics.model_validate(got.facts()).corrected == 2


def test_the_figures_of_a_published_example() -> None:
    """McNemar by the exact binomial: 25 and 12 changed answers of 3,925."""
    low, high, p_value = exact(25, 12, 3925)
    assert p_value == pytest.approx(0.0470, abs=5e-4)
    assert 0 < low < 13 / 3925 < high


def test_a_gain_may_be_sure_where_the_intervals_of_both_accuracies_overlap() -> None:
    right = np.arange(1000) < 900
    better = np.arange(1000) < 912
    got = paired(answers(right.tolist()), answers(better.tolist()), np.zeros(1000, dtype=np.int64))
    assert got.interval[0] > 0
    assert got.p_value < 0.001


@given(COUNTS, COUNTS)
def test_the_interval_excludes_zero_exactly_if_p_is_small(corrected: int, spoiled: int) -> None:
    low, high, p_value = exact(corrected, spoiled, 500)
    assert low <= (corrected - spoiled) / 500 <= high
    assert (low > 0 or high < 0) == (p_value < 0.05)


@given(COUNTS, COUNTS)
def test_exchanged_methods_give_the_negative(corrected: int, spoiled: int) -> None:
    low, high, p_value = exact(corrected, spoiled, 500)
    assert exact(spoiled, corrected, 500) == pytest.approx((-high, -low, p_value))


def test_the_reference_itself_has_empty_cells() -> None:
    assert cells(None) == ("",) * len(COLUMNS)
