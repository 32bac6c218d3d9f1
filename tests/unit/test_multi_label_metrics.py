"""Multi-label metrics and fits against scikit-learn, by hand, and against what drew the data."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from service.inference.tta.aggregate import temper
from service.inference.tta.task import MULTI_LABEL, sigmoid
from training.calibration import multi_label_fitting as fitting
from training.evaluation import multi_label_metrics as metrics


def drawn_answers(images: int = 200, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    truth = random.random((images, classes)) < np.linspace(0.05, 0.6, classes)
    probabilities = sigmoid(random.normal(0, 1, truth.shape) + 1.5 * truth)
    return probabilities.round(2), truth  # rounded: ties


def test_scores_are_those_of_scikit_learn() -> None:
    probabilities, truth = drawn_answers()
    present = probabilities >= 0.6
    got = metrics.scores(probabilities, truth, present)
    each = [average_precision_score(truth[:, k], probabilities[:, k]) for k in range(5)]
    np.testing.assert_allclose(got.average_precision, each)
    assert got.map == pytest.approx(np.mean(each))
    assert got.micro_f1 == pytest.approx(f1_score(truth, present, average="micro"))
    assert got.macro_f1 == pytest.approx(f1_score(truth, present, average="macro"))
    assert got.map_interval[0] < got.map < got.map_interval[1]


def test_the_interval_is_that_of_resampling_images() -> None:
    probabilities, truth = drawn_answers(60, 3)
    random = np.random.default_rng(1)
    found: list[float] = []
    for _ in range(400):
        rows = random.integers(0, 60, 60)
        found.append(
            metrics.mean_of_known(metrics.average_precisions(probabilities[rows], truth[rows]))
        )
    np.testing.assert_allclose(
        np.quantile(metrics.resample_map(probabilities, truth), [0.025, 0.975]),
        np.quantile(found, [0.025, 0.975]),
        atol=0.03,
    )


def test_methods_are_compared_on_the_same_resamples() -> None:
    """Two methods that rise and fall together differ by little, though each is uncertain."""
    probabilities, truth = drawn_answers(80, 3)
    slightly = np.clip(probabilities + 0.02 * truth, 0, 1)
    one, other = (metrics.scores(p, truth, p >= 0.5) for p in (probabilities, slightly))
    got = metrics.paired(one, other)
    assert got.difference == pytest.approx(other.map - one.map)
    assert got.interval[0] <= got.difference <= got.interval[1]
    own = one.map_interval[1] - one.map_interval[0]
    assert got.interval[1] - got.interval[0] < own / 3
    assert metrics.paired(one, one).interval == (0.0, 0.0)


def test_a_class_that_no_image_has_is_left_out() -> None:
    probabilities = np.array([[0.9, 0.2], [0.1, 0.3]])
    truth = np.array([[True, False], [False, False]])
    got = metrics.scores(probabilities, truth, probabilities >= 0.5)
    assert np.isnan(got.average_precision[1])
    assert (got.map, got.micro_f1, got.macro_f1) == (1.0, 1.0, 1.0)
    assert got.nll == pytest.approx(-np.log([0.9, 0.8, 0.9, 0.7]).mean())


@pytest.mark.parametrize("true", [0.5, 1.0, 2.5])
def test_the_temperature_that_drew_the_labels_is_found(true: float) -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (3000, 4))
    truth = random.random(logits.shape) < sigmoid(logits / true)
    assert fitting.temperature(sigmoid(logits), truth) == pytest.approx(true, rel=0.08)


def test_thresholds_have_the_greatest_f1_of_all() -> None:
    probabilities, truth = drawn_answers()
    got = fitting.thresholds(probabilities, truth)
    reached = metrics.f1(probabilities >= np.array(got), truth)
    best = [
        max(f1_score(truth[:, k], probabilities[:, k] >= t) for t in np.arange(0, 1.01, 0.005))
        for k in range(5)
    ]
    np.testing.assert_allclose(reached, best)


def test_a_threshold_is_as_near_to_a_half_as_it_may_be() -> None:
    truth = np.array([[True, False], [True, False], [False, False]])
    probabilities = np.array([[0.9, 0.3], [0.7, 0.2], [0.1, 0.9]])
    # Anything between 0.1 and 0.7 parts the first class; the second no image has.
    assert fitting.thresholds(probabilities, truth) == (0.5, 0.5)
    assert fitting.thresholds(probabilities / 4, truth)[0] == pytest.approx(0.1)


def test_view_weights_find_the_view_that_sees() -> None:
    random = np.random.default_rng(2)
    views = random.beta(0.5, 0.5, (800, 3, 4))  # (N, V, K)
    truth = random.random((800, 4)) < views[:, 1]
    got = fitting.view_weights(views, truth)
    assert sum(got) == pytest.approx(1, abs=1e-5)
    assert got[1] > 0.9


def test_tempering_never_raises_the_nll() -> None:
    probabilities, truth = drawn_answers()
    fitted = temper(probabilities, fitting.temperature(probabilities, truth), MULTI_LABEL)
    assert metrics.binary_nll(fitted, truth) <= metrics.binary_nll(probabilities, truth) + 1e-9
