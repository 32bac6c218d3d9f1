"""The answer of each view on its own."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.inference.image.geometry import FractionBox
from service.inference.tta.aggregate import Array, temper
from service.inference.tta.task import Task
from service.package.manifest import ModeCalibration


@dataclass(frozen=True)
class ViewClassification:
    """The answer of one view, or of one window of a dense pass, on its own."""

    box: FractionBox
    probabilities: Array
    """float64[K], tempered like the answer: if all views agree, their probabilities equal the
    answer's. The two passes of `adaptive` have their own temperatures, and the answer then lies
    between them."""
    raw: Array
    """float64[K], not tempered."""


@dataclass(frozen=True)
class SingleViews:
    """The views of an answer.

    They are computed when they are read, because few callers need them.
    """

    shown: tuple[FractionBox, ...]
    logits: tuple[NDArray[np.float32], ...]
    """float32[V, K] of each step; the boxes are those of all steps."""
    fitted: tuple[ModeCalibration, ...]
    """The fitted values of each step."""
    task: Task
    second_temperature: float = 1.0
    """Of the blend of both passes of `adaptive`."""

    def __iter__(self) -> Iterator[ViewClassification]:
        raw = [self.task.probabilities(logits) for logits in self.logits]
        tempered: Array = np.concatenate(
            [
                temper(rows, fitted.temperature, self.task, fitted.temperature_power)
                for rows, fitted in zip(raw, self.fitted, strict=True)
            ]
        )
        tempered = temper(tempered, self.second_temperature, self.task)
        return map(ViewClassification, self.shown, tempered, [row for rows in raw for row in rows])
