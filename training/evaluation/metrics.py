"""Metrics of answers: accuracy, likelihood and calibration, with their uncertainty."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 15
"""Of confidence, from 0 to 1."""
LEVEL = 0.95
RESAMPLES = 2000
TINY = 1e-12

Probabilities = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Scores:
    """Metrics of N images; accuracies and errors in 0..1, intervals of 95%."""

    images: int
    top1: float
    top1_interval: tuple[float, float]
    top5: float | None
    nll: float
    nll_interval: tuple[float, float]
    ece: float


def scores(probabilities: Probabilities, labels: Labels, seed: int = 0) -> Scores:
    """float64[N, K] and int64[N] -> Scores; intervals by bootstrap over images.

    The interval of an accuracy of 0 or 1 is exact: the bootstrap gives it no width.
    """
    right = probabilities.argmax(1) == labels
    lost = losses(probabilities, labels)
    return Scores(
        images=len(labels),
        top1=float(right.mean()),
        top1_interval=_interval_of(right, seed),
        top5=top_k(probabilities, labels, 5) if probabilities.shape[1] > 5 else None,
        nll=float(lost.mean()),
        nll_interval=bootstrap_mean(lost, seed),
        ece=ece(probabilities, labels),
    )


def _interval_of(right: NDArray[np.bool_], seed: int) -> tuple[float, float]:
    if right.all() or not right.any():  # every resample is alike, and 4 of 4 proves little
        return share_interval(int(right.sum()), len(right))
    return bootstrap_mean(right.astype(np.float64), seed)


def top_k(probabilities: Probabilities, labels: Labels, k: int) -> float:
    """Share of images whose class is among the k likeliest, of K > k classes."""
    from sklearn.metrics import top_k_accuracy_score  # slow to load, and the model card needs none

    classes = np.arange(probabilities.shape[1])
    return float(top_k_accuracy_score(labels, probabilities, k=k, labels=classes))


def nll(probabilities: Probabilities, labels: Labels) -> float:
    """Mean negative log-likelihood in nats."""
    return float(losses(probabilities, labels).mean())


def losses(probabilities: Probabilities, labels: Labels) -> NDArray[np.float64]:
    """The negative log-likelihood of each image, in nats: float64[N, K], int64[N] -> [N]."""
    return -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], TINY))


def reliability(
    confidence: NDArray[np.float64], right: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """For each of `BINS` equal bins of the confidence: answers, mean confidence, share of right."""
    index = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    counts = np.bincount(index, minlength=BINS)
    safe = np.maximum(counts, 1)
    mean = np.bincount(index, weights=confidence, minlength=BINS) / safe
    return counts, mean, np.bincount(index, weights=right, minlength=BINS) / safe


def ece(probabilities: Probabilities, labels: Labels) -> float:
    """Expected calibration error over equal bins (Guo et al., arXiv:1706.04599)."""
    right = probabilities.argmax(1) == labels
    counts, confidence, accuracy = reliability(probabilities.max(1), right)
    return float((counts * np.abs(confidence - accuracy)).sum() / counts.sum())


def bootstrap_mean(values: NDArray[np.float64], seed: int = 0) -> tuple[float, float]:
    """The 95% percentile-bootstrap interval of a mean."""
    random = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for index in range(RESAMPLES):
        means[index] = values[random.integers(0, len(values), len(values))].mean()
    return middle(means)


def middle(values: NDArray[np.float64]) -> tuple[float, float]:
    """The interval that holds the middle 95% of the values, such as those of resamples."""
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def share_interval(count: int, of: int) -> tuple[float, float]:
    """The exact 95% interval (Clopper and Pearson) of a share of `of` > 0 images."""
    from scipy.stats import binomtest  # loaded here: the model card needs none

    ends = binomtest(count, of).proportion_ci(LEVEL, method="exact")
    return float(ends.low), float(ends.high)


def confusion(probabilities: Probabilities, labels: Labels) -> NDArray[np.int64]:
    """int64[K, K]: rows are true classes, columns answers."""
    from sklearn.metrics import confusion_matrix

    classes = np.arange(probabilities.shape[1])
    return confusion_matrix(labels, probabilities.argmax(1), labels=classes)
