"""Learning rates: the values of a cosine after a warm-up, and what fits a stage makes."""

import math

import numpy as np
import pytest

from training.fit.schedule import fits, warm_cosine
from training.recipe import Stage


def test_a_cosine_after_a_linear_warm_up_has_the_closed_form() -> None:
    rate = warm_cosine(np.array([2e-3, 2e-4]), 0.05)
    for position in np.linspace(0, 1, 101):
        linear = position / 0.05
        cosine = 0.5 * (1 + math.cos(math.pi * (position - 0.05) / 0.95))
        expected = max(linear if position < 0.05 else cosine, 1e-5)
        assert rate(float(position)) == pytest.approx([2e-3 * expected, 2e-4 * expected])
    assert rate(0.05)[0] == pytest.approx(2e-3)
    assert rate(1.0)[0] == pytest.approx(2e-8)


def test_without_warm_up_the_rate_starts_at_its_peak() -> None:
    assert warm_cosine(np.array([1.0]), 0.0)(0.0) == pytest.approx([1.0])


def test_a_cosine_stage_is_one_fit() -> None:
    (fit,) = fits((Stage(7, 32, schedule="cosine", lr=0.1, warm_up=0.2),))
    assert (fit.epochs, fit.lr, fit.warm_up, fit.frozen) == (7, 0.1, 0.2, False)
