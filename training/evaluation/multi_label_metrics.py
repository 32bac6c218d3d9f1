"""Metrics of multi-label answers: average precision, F1, likelihood, with their uncertainty."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, f1_score

from training.evaluation.metrics import TINY, Probabilities, middle

RESAMPLES = 1000
CHUNK = 4_000_000
"""Numbers in memory at once during the bootstrap."""

Truth = NDArray[np.bool_]
"""bool[N, K]: which classes are true of which image."""


@dataclass(frozen=True)
class LabelScores:
    """Metrics of N images. All except the likelihood are in 0..1; the interval is of 95%."""

    images: int
    map: float
    """The mean of the average precision, over classes that at least one image has."""
    map_interval: tuple[float, float]
    average_precision: tuple[float, ...]
    """Average precision of each class; nan if no image has the class."""
    micro_f1: float
    macro_f1: float
    nll: float
    resampled_maps: NDArray[np.float64] = field(repr=False, compare=False)
    """`map` of each bootstrap resample. Two methods on the same images have the same resamples."""


@dataclass(frozen=True)
class LabelsPaired:
    """A method against a reference, on the same images."""

    difference: float
    """`map` of the method minus that of the reference."""
    interval: tuple[float, float]
    """95%, by bootstrap over images, the same images for both."""
    nll_difference: float

    def facts(self) -> dict[str, Any]:
        """The values for JSON and for the manifest, rounded to six digits."""
        low, high = self.interval
        return {
            "difference": round(self.difference, 6),
            "interval": [round(low, 6), round(high, 6)],
            "nll_difference": round(self.nll_difference, 6),
        }


def paired(reference: LabelScores, method: LabelScores) -> LabelsPaired:
    """Compare the scores of two methods on the same images."""
    return LabelsPaired(
        difference=method.map - reference.map,
        interval=middle(method.resampled_maps - reference.resampled_maps),
        nll_difference=method.nll - reference.nll,
    )


def scores(probabilities: Probabilities, truth: Truth, present: Truth) -> LabelScores:
    """float64[N, K], the truth and the answers at the thresholds -> LabelScores."""
    each = average_precisions(probabilities, truth)
    resampled = resample_map(probabilities, truth)
    return LabelScores(
        images=len(truth),
        map=mean_of_known(each),
        map_interval=middle(resampled),
        average_precision=tuple(float(value) for value in each),
        micro_f1=float(f1_score(truth.ravel(), present.ravel())),
        macro_f1=mean_of_known(f1(present, truth)),
        nll=binary_nll(probabilities, truth),
        resampled_maps=resampled,
    )


def average_precisions(probabilities: Probabilities, truth: Truth) -> NDArray[np.float64]:
    """The average precision of each class: [K]. It is the mean, over the images of the class, of
    the precision among all images ranked at least as high. Ties share a rank. nan if no image has
    the class."""
    columns = zip(probabilities.T, truth.T, strict=True)
    return np.array(
        [average_precision_score(true, p) if true.any() else np.nan for p, true in columns]
    )


def resample_map(probabilities: Probabilities, truth: Truth, seed: int = 0) -> NDArray[np.float64]:
    """The mean average precision of each bootstrap resample of the images: [RESAMPLES]."""
    random = np.random.default_rng(seed)
    images, classes = truth.shape
    rows = max(1, min(RESAMPLES, CHUNK // images))
    means: list[NDArray[np.float64]] = []
    for start in range(0, RESAMPLES, rows):
        count = min(rows, RESAMPLES - start)
        weights = random.multinomial(images, np.full(images, 1 / images), count).astype(np.float64)
        found = np.stack(
            [_weighted(probabilities[:, k], truth[:, k], weights) for k in range(classes)]
        )
        known = ~np.isnan(found)
        means.append(np.where(known, found, 0).sum(0) / np.maximum(known.sum(0), 1))
    return np.concatenate(means)


def f1(present: Truth, truth: Truth) -> NDArray[np.float64]:
    """F1 of each class: [K]; nan if no image has the class and no answer names it."""
    pairs = zip(truth.T, present.T, strict=True)
    unknown: Any = np.nan  # scikit-learn's type stubs allow only strings
    return np.array([f1_score(true, got, zero_division=unknown) for true, got in pairs])


def binary_nll(probabilities: Probabilities, truth: Truth) -> float:
    """Mean negative log-likelihood over every yes-or-no label, in nats."""
    return float(-np.log(np.maximum(likelihoods(probabilities, truth), TINY)).mean())


def likelihoods(probabilities: Probabilities, truth: Truth) -> NDArray[np.float64]:
    """The probability that each answer gives to the true yes or no."""
    return np.where(truth, probabilities, 1 - probabilities)


def _weighted(
    values: NDArray[np.float64], truth: NDArray[np.bool_], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The average precision of one class if image n counts weights[r, n] times: [R].

    This computes all resamples at once. scikit-learn would need a call for each of a thousand.
    """
    order = np.argsort(-values, kind="stable")
    ranked, hits = values[order], truth[order]
    if not hits.any():
        return np.full(len(weights), np.nan)
    last = np.searchsorted(-ranked, -ranked, side="right") - 1  # the last image tied with each
    counted = weights[:, order]
    positives = counted * hits
    precision = positives.cumsum(1) / np.maximum(counted.cumsum(1), TINY)
    total = positives.sum(1)
    found = (positives * precision[:, last]).sum(1) / np.maximum(total, TINY)
    return np.where(total > 0, found, np.nan)


def mean_of_known(values: NDArray[np.float64]) -> float:
    """The mean of the values that are not nan; 0 if there are none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0
