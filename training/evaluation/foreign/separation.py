"""How well scores separate foreign images from known ones: the area under the ROC curve."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.evaluation.metrics import middle

RESAMPLES = 1000

Scores = NDArray[np.float64]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Separation:
    """The area under the ROC curve: how often a foreign image has a higher score than a known one.

    0.5 is chance, 1 is perfect.
    """

    auroc: float
    interval: Interval
    """95%, by bootstrap over both groups of images."""

    def facts(self) -> dict[str, Any]:
        """For JSON, rounded to six digits."""
        return {
            "auroc": round(self.auroc, 6),
            "interval": [round(end, 6) for end in self.interval],
        }


def auroc(known: Scores, foreign: Scores) -> float:
    """float64[N], float64[M] -> the share of pairs in which the foreign score is higher.

    Ties count half.
    """
    ordered = np.sort(known)
    below = np.searchsorted(ordered, foreign, "left")
    up_to = np.searchsorted(ordered, foreign, "right")
    return float((below + up_to).sum() / (2 * len(known) * len(foreign)))


def separation(known: Scores, foreign: Scores, seed: int = 0) -> Separation:
    """The area with its interval."""
    (areas,) = _resampled(((known, foreign),), seed)
    return Separation(auroc(known, foreign), middle(areas))


def difference(
    method: tuple[Scores, Scores], reference: tuple[Scores, Scores], seed: int = 0
) -> Separation:
    """The area of a method minus that of a reference, on the same images.

    Each resample holds the same images for both, so the interval is of the difference itself.
    """
    ours, theirs = _resampled((method, reference), seed)
    return Separation(auroc(*method) - auroc(*reference), middle(ours - theirs))


def _resampled(methods: tuple[tuple[Scores, Scores], ...], seed: int) -> list[NDArray[np.float64]]:
    """The areas of each method on `RESAMPLES` resamples, the same for all methods."""
    random = np.random.default_rng(seed)
    known, foreign = (len(scores) for scores in methods[0])
    areas = np.empty((len(methods), RESAMPLES))
    for index in range(RESAMPLES):
        picked = random.integers(0, known, known), random.integers(0, foreign, foreign)
        for row, (ours, others) in enumerate(methods):
            areas[row, index] = auroc(ours[picked[0]], others[picked[1]])
    return list(areas)
