"""Prediction sets with a stated coverage, by split-conformal prediction.

The score of a class is 1 - p (Sadinle et al., "Least Ambiguous Set-Valued Classifiers",
arXiv:1609.00451): of all scores it gives the smallest sets on average. The quantile comes from the
calibration split, with the finite-sample correction, so the coverage holds for images from the same
distribution.
"""

import math

import numpy as np
from numpy.typing import NDArray

from service.errors import UsageError

COVERAGES = (0.8, 0.9, 0.95, 0.98, 0.99)


def key(coverage: float) -> str:
    """How a coverage is written in the manifest: "0.95"."""
    return f"{coverage:g}"


def quantile(true_class_probabilities: NDArray[np.floating], coverage: float) -> float:
    """The score that at least ceil((n + 1) coverage) of n calibration images do not exceed; else 1.

    probabilities of the true classes, float[n] -> score in [0, 1].
    """
    scores = np.sort(1 - true_class_probabilities)
    rank = rank_of(len(scores), coverage)
    return float(scores[rank - 1]) if rank <= len(scores) else 1.0


def rank_of(images: int, share: float) -> int:
    """The rank, from 1, of the score that a new one does not exceed with probability `share`.

    It is larger than `images` if they are too few for this probability. 0.99 of 99 is rank 99,
    also in floats.
    """
    return math.ceil((images + 1) * share - 1e-9)


def prediction_set(
    probabilities: NDArray[np.floating], coverage: float, quantiles: dict[str, float]
) -> tuple[int, ...]:
    """The classes whose score is within the quantile, likeliest first; never empty.

    Raises:
        UsageError: no quantile was fitted for this coverage.
    """
    # `key` rounds to six digits: 0.9500004 is not 0.95, though 0.95 as a float32 is.
    if key(coverage) not in quantiles or not math.isclose(
        float(key(coverage)), coverage, rel_tol=1e-7
    ):
        if not quantiles:
            raise UsageError(
                f"coverage {coverage}: no prediction sets were fitted for this model and mode"
            )
        raise UsageError(
            f"coverage must be one of {', '.join(sorted(quantiles))} for this model and mode, "
            f"but got {coverage}"
        )
    order = np.argsort(-probabilities, kind="stable")
    kept = [int(k) for k in order if 1 - probabilities[k] <= quantiles[key(coverage)] + 1e-12]
    return tuple(kept or [int(order[0])])
