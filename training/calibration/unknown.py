"""Fit the unknown score of a package, its curves, and what drift compares answers with.

No foreign image is needed. The score compares an embedding with those of training images. The
thresholds come from the calibration images, which the network was not trained on: training images
would have lower scores than any new image of the same classes. Without training images the score is
fitted on the calibration images too. Then each fold of them is scored with the fit to the other
folds.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.inference.predictor import Predictor
from service.inference.tta.conformal import rank_of
from service.inference.tta.evidence import Evidence
from service.inference.unknown import UnknownScorer, as_bytes
from service.package.manifest import Manifest, ModeCalibration, Precision
from service.package.parts import CurvePoint, UnknownModel
from service.package.reference import reference_of
from training.calibration import tempering
from training.calibration.calibration_logits import CalibrationLogits
from training.calibration.mode_answers import answers_of
from training.calibration.unknown_statistics import (
    Statistics,
    embeddings_of,
    fold_rows,
    scale_of,
)
from training.data.item import Item
from training.data.samples import sample
from training.evaluation.predictions import LabelledFile

KNOWN_RATES = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.96, 0.97, 0.98, 0.99, 0.995)
TRAINING_IMAGES = 2000
"""Enough: with 9000 images the same photos were found, to a thousandth."""
SEED = 0
DIGITS = 6
NOTHING: dict[str, Any] = {"unknown_curve": None, "reference": None}
"""What a calibration has that was not fitted by this module."""

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class FittedUnknown:
    """The manifest with the unknown score, and the file that it names."""

    manifest: Manifest
    content: bytes

    def files(self) -> dict[str, bytes]:
        """The file by its name. The name is new if the content is."""
        unknown = self.manifest.unknown
        return {} if unknown is None else {unknown.file: self.content}

    def remove_others(self, folder: Path) -> None:
        """Remove files of older fits, which no manifest names any more."""
        named = self.manifest.unknown.file if self.manifest.unknown else None
        for path in folder.glob("unknown-*.npy"):
            if path.name != named:
                path.unlink(missing_ok=True)


def fit(
    folder: Path,
    manifest: Manifest,
    logits: Mapping[Precision, CalibrationLogits],
    leading: Precision,
    training: Sequence[LabelledFile],
    log: Callable[[str], None],
) -> FittedUnknown:
    """Fit the score on the centre crops of `leading`, and a curve for each precision and mode.

    `manifest` has the calibration of every mode. A package without embeddings gets no score, and
    `log` says so.
    """
    if manifest.graph.embedding is None:
        log("no unknown score: the package has no embeddings (quincunx add-embedding adds them)")
        return FittedUnknown(without_scores(manifest, logits), b"")
    own = logits[leading]
    crops = own.evidence["none"]
    classes = len(manifest.labels)
    if training:
        predictor = Predictor.from_package(folder, precision=leading, provider="cpu")
        seen = embeddings_of(predictor, _some(training))
    else:
        seen = crops.embedding
    statistics = Statistics.of(seen, classes)
    content = as_bytes(statistics.mean, statistics.directions)
    fitter = _Fitter(crops, own.labels[: own.images], statistics, classes, bool(len(training)))
    top, residual = fitter.measured(crops)
    digest = hashlib.sha256(content).hexdigest()
    unknown = UnknownModel(
        file=f"unknown-{digest[:8]}.npy",
        size_bytes=len(content),
        sha256=digest,
        logit=scale_of(top),
        residual=scale_of(residual),
        images=len(seen),
        held_out=bool(len(training)),
    )
    scorer = UnknownScorer(unknown, statistics.mean, statistics.directions)
    entries: list[ModeCalibration] = []
    for entry in manifest.calibration:
        found = logits.get(entry.precision)
        if found is None:  # it is not of this package's graphs
            entries.append(entry.model_copy(update=NOTHING))
            continue
        answers = answers_of(manifest, entry.precision, entry.mode, found)
        if answers.evidence is None:
            raise ValueError(f"{entry.mode} has no embeddings")
        scores = fitter.scores(answers.evidence, scorer)
        curve = curve_of(scores)
        reference = reference_of(answers.probabilities, scores, (edge for _, edge in curve))
        changed = {"unknown_curve": curve, "reference": reference}
        entries.append(entry.model_copy(update=changed))
    curves = [entry.unknown_curve for entry in entries if entry.unknown_curve]
    highest = min((curve[-1][0] for curve in curves), default=unknown.known_rate)
    if highest < unknown.known_rate:  # so few calibration images show no higher rate
        unknown = unknown.model_copy(update={"known_rate": highest})
    log(
        f"unknown score: fitted on {len(seen)} "
        f"{'training' if training else 'calibration'} images, "
        f"{len(statistics.directions)} directions of {manifest.graph.embedding}, "
        f"{len(content) / 1024:.0f} KiB; known_rate {unknown.known_rate:g}"
    )
    update: dict[str, Any] = {"unknown": unknown, "calibration": tuple(entries)}
    return FittedUnknown(manifest.model_copy(update=update), content)


class _Fitter:
    """Scores of calibration images by statistics that were not fitted on them."""

    def __init__(
        self,
        crops: Evidence,
        labels: NDArray[np.int64],
        statistics: Statistics,
        classes: int,
        held_out: bool,
    ) -> None:
        everything = np.ones(len(labels), bool)
        self._parts = [(everything, statistics)]
        if not held_out:
            folds = tempering.deal(np.concatenate([labels, labels]))[: len(labels)]
            self._parts = [
                (inside, Statistics.of(crops.embedding[others], classes))
                for inside, others in fold_rows(folds)
            ]

    def measured(self, evidence: Evidence) -> tuple[Scores, Scores]:
        """Both measures of every image."""
        found = np.empty((2, len(evidence.logits)))
        for rows, statistics in self._parts:
            part = Evidence(evidence.embedding[rows], evidence.logits[rows])
            found[:, rows] = statistics.measures(part)
        return found[0], found[1]

    def scores(self, evidence: Evidence, scorer: UnknownScorer) -> Scores:
        """The score of every image."""
        return scorer.combined(*self.measured(evidence))


def curve_of(scores: Scores) -> tuple[CurvePoint, ...]:
    """The threshold at each known rate for which there are enough scores.

    The threshold is the smallest score such that a new image of the same kind lies below it with at
    least this probability: split conformal prediction, as for prediction sets.
    """
    ranked = np.sort(scores)
    points: list[CurvePoint] = []
    for rate in KNOWN_RATES:
        rank = rank_of(len(scores), rate)
        if rank <= len(scores):
            points.append((rate, round(float(ranked[rank - 1]), DIGITS)))
    return tuple(points)


def _some(training: Sequence[LabelledFile]) -> Sequence[LabelledFile]:
    items = [Item(one.path, one.label) for one in training]
    return sample(items, TRAINING_IMAGES, SEED)


def without_scores(manifest: Manifest, logits: Mapping[Precision, CalibrationLogits]) -> Manifest:
    """Add the reference of drift to a package without embeddings: classes and top probabilities."""
    entries: list[ModeCalibration] = []
    for entry in manifest.calibration:
        found = logits.get(entry.precision)
        answers = found and answers_of(manifest, entry.precision, entry.mode, found)
        reference = reference_of(answers.probabilities) if answers else None
        changed = NOTHING | {"reference": reference}
        entries.append(entry.model_copy(update=changed))
    return manifest.model_copy(update={"unknown": None, "calibration": tuple(entries)})
