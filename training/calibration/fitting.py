"""Fit the few numbers that calibrate the confidence of an answer."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from service.inference.tta.aggregate import temper
from training.evaluation.metrics import TINY, Labels, Probabilities, nll

LOG_TEMPERATURE_RANGE = (np.log(0.05), np.log(20.0))


def temperature(probabilities: Probabilities, labels: Labels) -> float:
    """The T with the least NLL of softmax(log p / T); float64[N, K], int64[N] -> T > 0.

    One image in N + 1 counts as any class at all, as Platt (1999) smooths the targets of a
    calibration. Without smoothing, a small error-free split drives the temperature to zero.
    """
    doubt = 1 / (len(labels) + 1)

    def loss(value: float) -> float:
        tempered = temper(probabilities, value)
        any_class = -np.log(np.maximum(tempered, TINY)).mean()
        return (1 - doubt) * nll(tempered, labels) + doubt * float(any_class)

    return least(loss)


def least(loss_at: Callable[[float], float]) -> float:
    """The temperature with the least loss. The NLL has one minimum in log T."""
    found: Any = minimize_scalar(
        lambda log_t: loss_at(float(np.exp(log_t))),
        bounds=LOG_TEMPERATURE_RANGE,
        method="bounded",
        options={"xatol": 1e-5},
    )
    return float(np.exp(found.x))


def view_weights(
    probabilities: NDArray[np.float64], labels: Labels, steps: int = 500
) -> tuple[float, ...]:
    """View weights for which the mean of probabilities has the least NLL: float64[N, V, K] -> [V].

    A weighted mean of probabilities is a mixture. So its weights are found by expectation
    maximization, which lowers the NLL in every step and stays on the simplex.
    """
    return mixture(probabilities[np.arange(len(labels)), :, labels], steps)


def mixture(likelihoods: NDArray[np.float64], steps: int = 500) -> tuple[float, ...]:
    """The mixture weights with the greatest likelihood, from the likelihood that each view gives to
    the true class: float64[N, V] -> [V]."""
    true = np.maximum(likelihoods, TINY)
    weights = np.full(true.shape[1], 1 / true.shape[1])
    for _ in range(steps):
        shares = true * weights
        weights = (shares / shares.sum(1, keepdims=True)).mean(0)
    return tuple(round(float(w), 6) for w in weights / weights.sum())
