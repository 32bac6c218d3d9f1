"""Run images with several true labels through the code that serves."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.inference.engine import Steps
from service.inference.image.geometry import FractionBox
from service.inference.image.views import AnyImage
from service.inference.predictor import Predictor
from service.inference.tta.steps import Classification, Options
from service.inference.tta.task import split_labels
from service.package.labels import class_ids
from service.package.manifest import Aggregation, Manifest, Mode
from training.evaluation.metrics import Probabilities
from training.evaluation.multi_label_metrics import Truth
from training.evaluation.predictions import LabelledFile, collect


@dataclass(frozen=True)
class LabelAnswers:
    """One mode's answers for N images."""

    probabilities: Probabilities
    present: Truth
    """Classes at or above their thresholds."""
    cost: float
    """Mean cost of an image in single crops."""


@dataclass(frozen=True)
class LabelPredictions:
    """The answers of every mode, and the truth."""

    truth: Truth
    paths: tuple[Path, ...]
    by_mode: dict[Mode, LabelAnswers]
    unreadable: dict[Path, str]


def truth_of(items: Sequence[LabelledFile], manifest: Manifest) -> Truth:
    """bool[N, K]: the labels of each item in the order of the model's logits.

    Raises:
        DataError: a label that is not a class of the model, or the name of several.
    """
    index = {label.id: label.index for label in manifest.labels}
    several = [split_labels(item.label) for item in items]
    ids = class_ids((label for labels in several for label in labels), manifest)
    truth: NDArray[np.bool_] = np.zeros((len(items), len(index)), np.bool_)
    for row, labels in enumerate(several):
        truth[row, [index[ids[label]] for label in labels]] = True
    return truth


def answers(
    predictor: Predictor,
    items: Sequence[LabelledFile],
    modes: Sequence[Mode],
    aggregate: Aggregation = "mean",
    boxes: tuple[FractionBox, ...] = (),
) -> LabelPredictions:
    """Answer every image in every mode, exactly as in serving. `boxes` are those of `custom`.

    Raises:
        DataError: a class that the model does not have, or not one readable image.
    """
    truth_of(items, predictor.manifest)  # raises before anything is run

    options = [
        Options(tta=mode, aggregate=aggregate, boxes=boxes if mode == "custom" else ())
        for mode in modes
    ]

    def start(pixels: AnyImage) -> list[Steps]:
        return [predictor.start(pixels, one) for one in options]

    what = f"{predictor.manifest.name} {predictor.precision}"
    kept, found, unreadable = collect(predictor, items, start, what)
    truth = truth_of(kept, predictor.manifest)
    by_mode: dict[Mode, LabelAnswers] = {
        mode: _of_mode([own[i] for own in found], truth.shape[1]) for i, mode in enumerate(modes)
    }
    return LabelPredictions(truth, tuple(item.path for item in kept), by_mode, unreadable)


def _of_mode(found: Sequence[Classification], classes: int) -> LabelAnswers:
    present = np.zeros((len(found), classes), np.bool_)
    for row, answer in enumerate(found):
        present[row, list(answer.present or ())] = True
    return LabelAnswers(
        probabilities=np.stack([answer.probabilities for answer in found]),
        present=present,
        cost=float(np.mean([answer.cost for answer in found])),
    )
