"""What is fitted is what generated the data."""

import numpy as np
import pytest

from service.inference.tta.aggregate import softmax, temper
from training.calibration import fitting
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
