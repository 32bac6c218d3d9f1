"""How uncertain an answer is, from its probabilities."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.inference.tta.task import THRESHOLD, TINY

Array = NDArray[np.float64]
Uncertainty = tuple[float, float]
"""Margin and entropy. A small margin or a large entropy is an uncertain answer."""


def of_one_class(probabilities: Array, _: Sequence[float] | None) -> Uncertainty:
    """float64[K] -> the distance of the two largest probabilities, and the entropy in nats."""
    if len(probabilities) < 2:
        return 1.0, 0.0
    second, first = np.partition(probabilities, -2)[-2:]
    return float(first - second), _entropy(probabilities)


def of_several_classes(probabilities: Array, thresholds: Sequence[float] | None) -> Uncertainty:
    """float64[K] -> the least distance from a threshold, and the mean entropy of a class."""
    limits = np.full(len(probabilities), THRESHOLD) if thresholds is None else np.array(thresholds)
    both = _entropy(probabilities) + _entropy(1 - probabilities)
    return float(np.abs(probabilities - limits).min()), both / len(probabilities)


def _entropy(probabilities: Array) -> float:
    return float(-(probabilities * np.log(np.maximum(probabilities, TINY))).sum())
