"""The area under the ROC curve, against scikit-learn and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from training.evaluation.foreign.separation import auroc, difference, separation

SCORES = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=20).map(np.array)


@given(SCORES, SCORES)
def test_the_area_is_that_of_scikit_learn(known: np.ndarray, foreign: np.ndarray) -> None:
    truth = np.repeat([0, 1], [len(known), len(foreign)])
    expected = roc_auc_score(truth, np.concatenate([known, foreign]))
    assert auroc(known, foreign) == pytest.approx(expected)


def test_the_interval_has_the_width_of_hanley_and_mc_neil() -> None:
    random = np.random.default_rng(0)
    known, foreign = random.normal(0, 1, 400), random.normal(1.5, 1, 100)
    got = separation(known, foreign)
    low, high = got.interval
    a, n, m = got.auroc, len(known), len(foreign)
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    variance = (a * (1 - a) + (m - 1) * (q1 - a * a) + (n - 1) * (q2 - a * a)) / (n * m)
    assert low < a < high
    assert (high - low) / 2 == pytest.approx(1.96 * np.sqrt(variance), rel=0.25)


def test_a_paired_difference_is_narrower_than_two_intervals() -> None:
    random = np.random.default_rng(1)
    known, foreign = random.normal(0, 1, 300), random.normal(1, 1, 80)
    better = known * 0.98, foreign * 0.98 + 0.1
    got = difference(better, (known, foreign))
    assert got.auroc == pytest.approx(auroc(*better) - auroc(known, foreign))
    low, high = got.interval
    assert 0 < low < got.auroc < high
    alone = separation(known, foreign).interval
    assert high - low < (alone[1] - alone[0]) / 2
    assert difference((known, foreign), (known, foreign)).interval == (0, 0)
