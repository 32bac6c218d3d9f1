"""Fit the few numbers that make an answer's confidence mean what it says."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from service.inference.aggregate import temper
from training.metrics import TINY, Labels, Probabilities, nll

GOLDEN = (5**0.5 - 1) / 2
LOG_TEMPERATURE_RANGE = (np.log(0.05), np.log(20.0))


def temperature(probabilities: Probabilities, labels: Labels) -> float:
    """The T of the least NLL of softmax(log p / T); float64[N, K], int64[N] -> T > 0.

    One image in N + 1 counts as any class at all, as Platt (1999) smooths the targets of a
    calibration: without a mistake among few images, to be certain of everything would seem right.
    """
    doubt = 1 / (len(labels) + 1)

    def loss(value: float) -> float:
        tempered = temper(probabilities, value)
        any_class = -np.log(np.maximum(tempered, TINY)).mean()
        return (1 - doubt) * nll(tempered, labels) + doubt * float(any_class)

    return least(loss)


def least(loss_at: Callable[[float], float]) -> float:
    """The temperature of the least loss.

    The NLL is unimodal in log T, so a golden-section search finds the minimum.
    """
    low, high = LOG_TEMPERATURE_RANGE

    def loss(log_t: float) -> float:
        return loss_at(float(np.exp(log_t)))

    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = loss(left), loss(right)
    while high - low > 1e-4:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - GOLDEN * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + GOLDEN * (high - low)
            at_right = loss(right)
    return float(np.exp((low + high) / 2))


def view_weights(
    probabilities: NDArray[np.float64], labels: Labels, steps: int = 500
) -> tuple[float, ...]:
    """The weights of views whose mean of probabilities has the least NLL: float64[N, V, K] -> [V].

    A weighted mean of probabilities is a mixture, so its weights are found by expectation
    maximization, which only ever lowers the NLL and stays on the simplex.
    """
    return mixture(probabilities[np.arange(len(labels)), :, labels], steps)


def mixture(likelihoods: NDArray[np.float64], steps: int = 500) -> tuple[float, ...]:
    """The weights of the mixture that makes the truth likeliest, of what each view gives it:
    float64[N, V] -> [V]."""
    true = np.maximum(likelihoods, TINY)
    weights = np.full(true.shape[1], 1 / true.shape[1])
    for _ in range(steps):
        shares = true * weights
        weights = (shares / shares.sum(1, keepdims=True)).mean(0)
    return tuple(round(float(w), 6) for w in weights / weights.sum())
