"""Fit temperature, thresholds and view weights of multi-label answers."""

import numpy as np
from numpy.typing import NDArray

from service.inference.tta.aggregate import temper
from service.inference.tta.task import MULTI_LABEL, THRESHOLD
from training.calibration import fitting
from training.evaluation.metrics import Probabilities
from training.evaluation.multi_label_metrics import Truth, binary_nll, likelihoods


def temperature(probabilities: Probabilities, truth: Truth) -> float:
    """The T with the least binary NLL of sigmoid(logit p / T); float64[N, K] -> T > 0.

    One image in N + 1 may have any labels, as in `training.calibration.fitting.temperature`.
    """
    doubt = 1 / (len(truth) + 1)

    def loss(value: float) -> float:
        tempered = temper(probabilities, value, MULTI_LABEL)
        yes_or_no = (binary_nll(tempered, truth) + binary_nll(tempered, ~truth)) / 2
        return (1 - doubt) * binary_nll(tempered, truth) + doubt * yes_or_no

    return fitting.least(loss)


def view_weights(probabilities: NDArray[np.float64], truth: Truth) -> tuple[float, ...]:
    """View weights for which the mean of probabilities has the least binary NLL: [N, V, K]."""
    views = probabilities.shape[1]
    return fitting.mixture(
        likelihoods(probabilities, truth[:, None]).swapaxes(1, 2).reshape(-1, views)
    )


def thresholds(probabilities: Probabilities, truth: Truth) -> tuple[float, ...]:
    """For each class the threshold with the greatest F1: float64[N, K], bool[N, K] -> [K].

    A threshold is half-way between two neighbouring probabilities. If several have equal F1, the
    one nearest to 0.5 is used. A class that no image has keeps 0.5.
    """
    return tuple(_threshold(p, t) for p, t in zip(probabilities.T, truth.T, strict=True))


def _threshold(values: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    if not truth.any():
        return THRESHOLD
    order = np.argsort(-values, kind="stable")
    ranked, hits = values[order], truth[order].cumsum()
    f1 = 2 * hits / (np.arange(1, len(values) + 1) + truth.sum())
    following = np.append(ranked[1:], 0.0)
    f1[ranked == following] = -1  # no threshold can separate tied images
    halfway = (ranked + following) / 2
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    chosen = best[np.abs(halfway[best] - THRESHOLD).argmin()]
    upper, lower = float(ranked[chosen]), float(following[chosen])
    value = THRESHOLD if lower < THRESHOLD <= upper else float(halfway[chosen])
    return min(upper, round(value, 8))
