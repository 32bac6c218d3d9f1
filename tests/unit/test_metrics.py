"""Metrics against values worked out by hand or by a slow loop."""

import numpy as np
import pytest

from training.evaluation import metrics


def simple() -> tuple[np.ndarray, np.ndarray]:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.5, 0.3, 0.2], [0.2, 0.2, 0.6]])
    return probabilities, np.array([0, 2, 0, 1])


def test_scores_of_four_images_by_hand() -> None:
    probabilities, labels = simple()
    got = metrics.scores(probabilities, labels)
    assert got.images == 4
    assert got.top1 == 0.5
    assert got.top5 is None  # of 3 classes, the top 5 would always be right
    assert got.nll == pytest.approx(-np.log([0.7, 0.3, 0.5, 0.2]).mean())
    low, high = got.top1_interval
    assert low < 0.5 < high


def test_ece_equals_a_loop_over_bins() -> None:
    random = np.random.default_rng(1)
    probabilities = random.dirichlet(np.ones(4), 500)
    labels = random.integers(0, 4, 500)
    top = probabilities.max(1)
    right = probabilities.argmax(1) == labels
    expected = 0.0
    for index in range(15):
        inside = (top >= index / 15) & (top < (index + 1) / 15)
        if inside.any():
            gap = abs(top[inside].mean() - right[inside].mean())
            expected += inside.mean() * gap
    assert metrics.ece(probabilities, labels) == pytest.approx(expected)


def test_ece_is_nothing_for_perfect_confidence_and_all_for_misplaced() -> None:
    sure = np.eye(3)[[0, 1, 2]]
    assert metrics.ece(sure, np.array([0, 1, 2])) == 0
    assert metrics.ece(sure, np.array([1, 2, 0])) == 1


def test_top_k_and_confusion() -> None:
    probabilities, labels = simple()
    assert metrics.top_k(probabilities[:3], labels[:3], 2) == 1
    assert metrics.top_k(probabilities[:3], labels[:3], 1) == pytest.approx(2 / 3)
    np.testing.assert_array_equal(
        metrics.confusion(probabilities, labels), [[2, 0, 0], [0, 0, 1], [0, 1, 0]]
    )


def test_bootstrap_interval_has_the_width_of_the_normal_approximation() -> None:
    values = (np.arange(1000) < 880).astype(np.float64)
    low, high = metrics.bootstrap_mean(values)
    expected = 1.96 * np.sqrt(0.88 * 0.12 / 1000)
    assert (high - low) / 2 == pytest.approx(expected, rel=0.1)


def test_an_accuracy_without_a_mistake_on_few_images_is_not_certain() -> None:
    right, wrong = np.eye(3)[[0, 1, 2, 0]], np.eye(3)[[1, 2, 0, 1]]
    labels = np.array([0, 1, 2, 0])
    assert metrics.scores(right, labels).top1_interval == pytest.approx((0.398, 1.0), abs=1e-3)
    assert metrics.scores(wrong, labels).top1_interval == pytest.approx((0.0, 0.602), abs=1e-3)
