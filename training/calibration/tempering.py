"""Fit the temperature of answers, and a power of their entropy where that helps.

Every choice between two fits is made by their likelihood on images that they were not fitted on
(cross-fitting): the images are dealt into folds, and the answers of each fold are tempered with
what was fitted on the other folds. An image and its mirror image are in the same fold.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from service.inference.tta.aggregate import relative_entropy, temper
from service.inference.tta.task import log
from training.calibration import fitting
from training.evaluation.metrics import TINY, Labels, Probabilities, nll

FOLDS = 5

Folds = NDArray[np.int64]


class Tempering(NamedTuple):
    """The arguments of `service.inference.tta.aggregate.temper`."""

    temperature: float = 1.0
    power: float = 0.0

    def of(self, probabilities: Probabilities) -> Probabilities:
        """The tempered probabilities."""
        return temper(probabilities, self.temperature, power=self.power)


def deal(labels: Labels, seed: int = 0) -> Folds:
    """The fold of each image: int64[N]. Every class is spread over all folds.

    The second half of N are the mirror images of the first half, in the same order.
    """
    own = labels[: len(labels) // 2]
    order = np.random.default_rng(seed).permutation(len(own))
    order = order[np.argsort(own[order], kind="stable")]
    folds = np.empty(len(own), dtype=np.int64)
    folds[order] = np.arange(len(own)) % FOLDS
    return np.concatenate([folds, folds])


def fit(probabilities: Probabilities, labels: Labels, folds: Folds) -> Tempering:
    """The tempering with the better likelihood on images that it was not fitted on.

    With a power of 0 it is one temperature for all answers. float64[N, K], int64[N], int64[N].
    """
    plain, powered = (cross_fitted(probabilities, labels, folds, p) for p in (False, True))
    return fit_once(probabilities, labels, nll(powered, labels) < nll(plain, labels))


def cross_fitted(
    probabilities: Probabilities, labels: Labels, folds: Folds, powered: bool
) -> Probabilities:
    """The probabilities of each fold, tempered with what was fitted on the other folds."""
    tempered = np.empty_like(probabilities)
    for fold in np.unique(folds):
        own = folds == fold
        fitted = fit_once(probabilities[~own], labels[~own], powered)
        tempered[own] = fitted.of(probabilities[own])
    return tempered


def fit_once(probabilities: Probabilities, labels: Labels, powered: bool) -> Tempering:
    """The tempering with the least NLL on these images, smoothed as `fitting.temperature`."""
    temperature = fitting.temperature(probabilities, labels)
    if not powered:
        return Tempering(round(temperature, 6))
    logs = np.log(np.maximum(probabilities, TINY))
    heat = np.log(relative_entropy(probabilities, log(probabilities))[:, 0])
    rows, doubt = np.arange(len(labels)), 1 / (len(labels) + 1)

    def loss(values: NDArray[np.float64]) -> float:
        cold = 1 / np.exp(values[0] + values[1] * heat)  # 1 / T of each image
        scaled = logs * cold[:, None]
        top = scaled.max(1)
        total = top + np.log(np.exp(scaled - top[:, None]).sum(1))
        true = (total - scaled[rows, labels]).mean()
        any_class = (total - scaled.mean(1)).mean()
        return float((1 - doubt) * true + doubt * any_class)

    found: Any = minimize(
        loss,
        [np.log(temperature), 0.0],
        method="L-BFGS-B",
        bounds=[fitting.LOG_TEMPERATURE_RANGE, (0.0, 1.0)],
    )
    return Tempering(round(float(np.exp(found.x[0])), 6), round(float(found.x[1]), 6))
