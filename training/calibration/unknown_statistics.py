"""Fit what the unknown score compares embeddings with: their mean, and where they vary."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.inference.image.views import AnyImage, size_of
from service.inference.predictor import Predictor
from service.inference.tta.evidence import Evidence, stacked
from service.inference.tta.passes import PassOutputs, StepsOf, read_passes
from service.inference.unknown import measures
from service.package.manifest import ModeCalibration
from service.package.parts import MAX_STATISTICS_BYTES, Scale
from training.evaluation.predictions import LabelledFile, collect

LEAST_DIRECTIONS = 32
IMAGES_PER_DIRECTION = 4
BYTES_PER_NUMBER, HEADER_BYTES = 2, 128
LEAST_SPREAD = 1e-6
ONE_SPREAD = (0.16, 0.84)
"""The quantiles that lie one standard deviation below and above the mean of a normal variable."""

Embeddings = NDArray[np.floating]


@dataclass(frozen=True)
class Statistics:
    """The mean float32[C] and the directions float32[D, C] of embeddings, as the file holds them.

    They are rounded to float16 already, so thresholds are fitted on the scores that are served.
    """

    mean: NDArray[np.float32]
    directions: NDArray[np.float32]

    @classmethod
    def of(cls, embeddings: Embeddings, classes: int) -> "Statistics":
        """Fit to embeddings [N, C] of a model with this number of classes."""
        mean = embeddings.mean(axis=0, dtype=np.float64)
        away = embeddings.astype(np.float64) - mean
        # The columns are sorted by how much the embeddings vary along them, the least first.
        _, vectors = np.linalg.eigh(away.T @ away)
        count = directions_for(len(embeddings), embeddings.shape[1], classes)
        chosen = vectors[:, ::-1][:, :count].T
        return cls(_rounded(mean), _rounded(chosen))

    def measures(self, evidence: Evidence) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Of answers [N, C] and [N, K]: see `service.inference.unknown.measures`."""
        return measures(evidence.embedding, evidence.logits, self.mean, self.directions)


def directions_for(images: int, channels: int, classes: int) -> int:
    """D: two for each class, and at least `LEAST_DIRECTIONS`.

    Never more than half of the channels, than the file may hold, or than the images determine.
    """
    room = (MAX_STATISTICS_BYTES - HEADER_BYTES) // (BYTES_PER_NUMBER * channels) - 1
    wanted = max(LEAST_DIRECTIONS, 2 * classes)
    return max(0, min(wanted, channels // 2, room, images // IMAGES_PER_DIRECTION))


def scale_of(values: NDArray[np.floating]) -> Scale:
    """The median, and half of the range that holds the middle 68%: outliers move neither."""
    low, high = np.quantile(values, ONE_SPREAD)
    spread = max(float(high - low) / 2, LEAST_SPREAD)
    return Scale(centre=round(float(np.median(values)), 6), spread=round(spread, 6) or LEAST_SPREAD)


def embeddings_of(predictor: Predictor, items: Sequence[LabelledFile]) -> NDArray[np.float32]:
    """The embeddings [N, C] of the centre crops of the readable images."""
    planner, crop = predictor.model.planner, ModeCalibration(precision="fp32", mode="none")

    def start(image: AnyImage) -> list[StepsOf[PassOutputs]]:
        return [read_passes(image, planner.passes("none", size_of(image)), embedding=True)]

    what = f"embedding {len(items)} training images"
    _, rows, _ = collect(predictor, items, start, what)
    found = [one for (read,) in rows if (one := Evidence.of(read, crop)) is not None]
    return stacked(found).embedding.astype(np.float32)


def fold_rows(folds: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """For each fold: which rows are in it, and which are in the others."""
    for fold in np.unique(folds):
        yield folds == fold, folds != fold


def _rounded(values: NDArray[np.float64]) -> NDArray[np.float32]:
    return values.astype(np.float16).astype(np.float32)
