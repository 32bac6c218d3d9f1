"""What is fitted is what generated the data."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.inference.tta.aggregate import softmax, temper
from training.calibration import fitting, tempering
from training.evaluation.metrics import nll


def drawn_labels(probabilities: np.ndarray, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.array([random.choice(len(p), p=p) for p in probabilities])


@pytest.mark.parametrize("true", [0.5, 1.0, 2.5])
def test_temperature_finds_the_one_that_drew_the_labels(true: float) -> None:
    logits = np.random.default_rng(0).normal(0, 2, (4000, 5))
    labels = drawn_labels(softmax(logits / true), 1)
    assert fitting.temperature(softmax(logits), labels) == pytest.approx(true, rel=0.08)


def test_temperature_never_raises_the_nll_beyond_its_doubt() -> None:
    for seed in range(5):
        probabilities = np.random.default_rng(seed).dirichlet(np.ones(4), 60)
        labels = np.random.default_rng(seed + 9).integers(0, 4, 60)
        fitted = temper(probabilities, fitting.temperature(probabilities, labels))
        assert nll(fitted, labels) <= nll(probabilities, labels) + 0.01


@pytest.mark.parametrize("images", [60, 600])
def test_no_mistake_among_few_images_is_no_certainty(images: int) -> None:
    labels = np.arange(images) % 3
    probabilities = np.full((images, 3), 0.1)
    probabilities[np.arange(images), labels] = 0.8
    fitted = temper(probabilities, fitting.temperature(probabilities, labels))
    # One image in N + 1 may be of any class, and then it is one of the two others in two of three.
    assert fitted.max(1) == pytest.approx(1 - 2 / 3 / (images + 1), abs=1e-4)


def test_view_weights_find_the_mixture_that_drew_the_labels() -> None:
    random = np.random.default_rng(3)
    views = random.dirichlet(np.full(4, 0.4), (6000, 3))  # (N, V, K)
    true = np.array([0.6, 0.1, 0.3])
    labels = drawn_labels(np.einsum("nvk,v->nk", views, true), 4)
    got = fitting.view_weights(views, labels)
    assert sum(got) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(got, true, atol=0.06)


def powered(logits: np.ndarray, temperature: float, power: float) -> np.ndarray:
    """The probabilities that a temperature which depends on the answer draws labels from."""
    return temper(softmax(logits), temperature, power=power)


@pytest.mark.parametrize("true", [(1.2, 0.0), (1.2, 0.5), (0.8, 0.3)])
def test_the_tempering_that_drew_the_labels_is_found(true: tuple[float, float]) -> None:
    half = np.random.default_rng(0).normal(0, 2, (4000, 5))
    logits = np.concatenate([half, half])
    labels = drawn_labels(powered(logits, *true), 1)
    got = tempering.fit(softmax(logits), labels, tempering.deal(labels))
    assert got.temperature == pytest.approx(true[0], rel=0.1)
    assert got.power == pytest.approx(true[1], abs=0.08)


@given(st.floats(0.2, 5), st.floats(0, 1), st.integers(2, 6), st.integers(0, 99))
def test_tempering_keeps_the_order_of_classes(
    temperature: float, power: float, classes: int, seed: int
) -> None:
    probabilities = np.random.default_rng(seed).dirichlet(np.full(classes, 0.5), 20)
    tempered = temper(probabilities, temperature, power=power)
    np.testing.assert_allclose(tempered.sum(1), 1)
    np.testing.assert_array_equal(tempered.argmax(1), probabilities.argmax(1))


def test_a_surer_answer_stays_surer() -> None:
    top = np.linspace(0.34, 0.9999, 50)
    tempered = temper(np.stack([top, (1 - top) / 2, (1 - top) / 2], 1), 1.2, power=0.6)
    assert (np.diff(tempered[:, 0]) >= 0).all()
    assert tempered[-1, 0] < 1 or top[-1] > 0.999


def test_an_image_and_its_mirror_image_share_a_fold() -> None:
    labels = np.tile(np.arange(60) % 3, 2)
    folds = tempering.deal(labels)
    np.testing.assert_array_equal(folds[:60], folds[60:])
    for label in range(3):
        assert np.bincount(folds[:60][labels[:60] == label]).tolist() == [4] * 5


def test_a_fold_is_tempered_without_its_own_labels() -> None:
    probabilities = np.random.default_rng(2).dirichlet(np.ones(4), 100)
    labels = np.random.default_rng(3).integers(0, 4, 100)
    folds = tempering.deal(labels)
    other = np.where(folds == 0, (labels + 1) % 4, labels)
    one, two = (tempering.cross_fitted(probabilities, of, folds, True) for of in (labels, other))
    np.testing.assert_array_equal(one[folds == 0], two[folds == 0])
    assert (one[folds == 1] != two[folds == 1]).any()
