"""Percentiles, and intervals by the bootstrap. Nothing here assumes a normal distribution of times.

Neighbouring samples of one run are alike, because a busy machine stays busy for a while. So samples
are drawn in blocks of neighbours that wrap around the end: the circular block bootstrap of Politis
and Romano (1992). Drawing samples one by one would give intervals that are too narrow.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

CONFIDENCE = 0.95
RESAMPLES = 1000
MOST_DRAWN = 5_000_000
MOST_RESAMPLED = 500
"""With more samples, means of neighbours are drawn: the same mean with far less memory."""


@dataclass(frozen=True)
class Interval:
    """A value and the interval that holds it at a stated confidence."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"

    def excludes(self, value: float) -> bool:
        return not self.low <= value <= self.high

    @property
    def half_width(self) -> float:
        """Half the interval, as a share of the value."""
        return (self.high - self.low) / 2 / abs(self.value) if self.value else math.inf


def percentile(samples: ArrayLike, percent: float) -> float:
    """The smallest sample that at least `percent` of all samples do not exceed.

    It is not interpolated: a percentile is always a measured time. With too few samples it is the
    largest one. Infinite samples (unanswered requests) are allowed.
    """
    values = np.asarray(samples, dtype=np.float64)
    if not values.size:
        return math.nan
    return float(np.percentile(values, percent, method="inverted_cdf"))


def block_length(count: int) -> int:
    """Neighbours that are drawn together: the cube root of n, which theory gives for a mean."""
    return max(1, round(count ** (1 / 3)))


def resampled_rows(count: int, generator: np.random.Generator, resamples: int) -> NDArray[np.intp]:
    """Indices of `resamples` block-bootstrap draws: int[R, n]. Blocks wrap around the end."""
    block = block_length(count)
    blocks = math.ceil(count / block)
    starts = generator.integers(0, count, size=(resamples, blocks, 1))
    return ((starts + np.arange(block)) % count).reshape(resamples, -1)[:, :count]


def mean_interval(samples: ArrayLike, *, confidence: float = CONFIDENCE, seed: int = 0) -> Interval:
    """The mean and its bootstrap interval."""
    values = np.asarray(samples, dtype=np.float64)
    thinned = _thinned(values)
    rows = resampled_rows(len(thinned), np.random.default_rng(seed), RESAMPLES)
    return _interval(float(values.mean()), thinned[rows].mean(axis=1), confidence)


def paired_ratio(
    samples: ArrayLike, base: ArrayLike, *, confidence: float = CONFIDENCE, seed: int = 0
) -> Interval:
    """The cost of `samples` relative to `base`, from the same rounds: a ratio of mean costs.

    It is a median of means. The rounds are divided into a few groups of neighbours. Each group
    gives the ratio of its means, and the result is the median over the groups. So a slow period
    cancels out, and a short disturbance spoils one group only. A mode whose work varies
    (`adaptive`) still counts with its mean, which a plain median would hide.
    """
    value, drawn = _paired(samples, base, np.random.default_rng(seed))
    return _interval(value, drawn, confidence)


def ratio_of_ratios(
    samples: ArrayLike,
    base: ArrayLike,
    samples_before: ArrayLike,
    base_before: ArrayLike,
    *,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Interval:
    """How a paired ratio changed from one run to another. A slower machine cancels out."""
    generator = np.random.default_rng(seed)
    value, drawn = _paired(samples, base, generator)
    value_before, drawn_before = _paired(samples_before, base_before, generator)
    return _interval(value / value_before, drawn / drawn_before, confidence)


def percentile_ratio(
    samples: ArrayLike,
    base: ArrayLike,
    percent: float,
    *,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Interval:
    """The ratio of a percentile of two runs."""
    generator = np.random.default_rng(seed)
    value, drawn = 1.0, np.ones(1)
    for values, power in ((samples, 1), (base, -1)):
        taken = np.asarray(values, dtype=np.float64)
        resamples = int(np.clip(MOST_DRAWN // len(taken), 100, RESAMPLES))
        rows = resampled_rows(len(taken), generator, resamples)
        percentiles = np.percentile(taken[rows], percent, axis=1, method="inverted_cdf")
        value *= percentile(taken, percent) ** power
        drawn = np.resize(drawn, resamples) * np.asarray(percentiles, np.float64) ** power
    return _interval(value, drawn, confidence)


def _paired(
    samples: ArrayLike, base: ArrayLike, generator: np.random.Generator
) -> tuple[float, Array]:
    pairs = _thinned(np.stack([np.asarray(samples, np.float64), np.asarray(base, np.float64)]))
    means = _group_means(pairs)
    drawn = _group_means(pairs[:, resampled_rows(pairs.shape[1], generator, RESAMPLES)])
    return float(_medians(means[0] / means[1])), _medians(drawn[0] / drawn[1])


def _thinned(samples: Array) -> Array:
    """[..., n] -> [..., m], m <= MOST_RESAMPLED: means of as many neighbours as necessary."""
    size = math.ceil(samples.shape[-1] / MOST_RESAMPLED)
    kept = samples.shape[-1] // size
    return samples[..., : kept * size].reshape(*samples.shape[:-1], kept, size).mean(axis=-1)


def _group_means(samples: Array) -> Array:
    """[..., n] -> [..., g]: n samples in about the square root of n groups of equal size."""
    count = samples.shape[-1]
    groups = max(1, round(math.sqrt(count)))
    size = count // groups
    return samples[..., : groups * size].reshape(*samples.shape[:-1], groups, size).mean(axis=-1)


def ratio_across_runs(
    samples: ArrayLike, base: ArrayLike, *, confidence: float = CONFIDENCE, seed: int = 0
) -> Interval:
    """The ratio of the mean costs of two runs. They share no rounds: a median of means for each."""
    generator = np.random.default_rng(seed)
    value = 1.0
    drawn: Array = np.ones(RESAMPLES)
    for values, power in ((samples, 1), (base, -1)):
        taken = _thinned(np.asarray(values, dtype=np.float64))
        rows = resampled_rows(len(taken), generator, RESAMPLES)
        value *= float(_medians(_group_means(taken))) ** power
        drawn = drawn * _medians(_group_means(taken[rows])) ** power
    return _interval(value, drawn, confidence)


def _medians(values: Array) -> Array:
    return np.asarray(np.median(values, axis=-1), dtype=np.float64)


def _interval(value: float, drawn: Array, confidence: float) -> Interval:
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, float(low), float(high))
