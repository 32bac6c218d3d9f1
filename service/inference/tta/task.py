"""The two tasks of a model: which class does the image show, and which classes are in it.

A task says how logits become probabilities, and what the answer is. Everything else (views, passes,
windows, batching) is the same for both.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.errors import UsageError
from service.package.manifest import Mode, TaskName

Array = NDArray[np.float64]
Values = NDArray[np.floating]

TINY = 1e-12
SEPARATOR = ";"
THRESHOLD = 0.5
"""The threshold of a class without a fitted one."""


def split_labels(text: str) -> tuple[str, ...]:
    """The labels of one image as text for tables: separated by `;`, empty if there are none."""
    return tuple(part.strip() for part in text.split(SEPARATOR) if part.strip())


def softmax(logits: Values) -> Array:
    """Softmax over the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    exponentials = np.exp(shifted)
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def sigmoid(logits: Values) -> Array:
    """The logistic function of every element, in float64, without overflow."""
    return np.exp(-np.logaddexp(0.0, -logits.astype(np.float64)))


def log(probabilities: Values) -> Array:
    """Logits whose softmax the probabilities are."""
    return np.log(np.maximum(probabilities, TINY))


def logit(probabilities: Values) -> Array:
    """Logits whose sigmoid the probabilities are."""
    return np.log(np.maximum(probabilities, TINY)) - np.log(np.maximum(1 - probabilities, TINY))


def to_sum_1(values: Values) -> Array:
    """Divide by the sum over the last axis."""
    return values / values.sum(axis=-1, keepdims=True)


def as_they_are(values: Values) -> Array:
    """Return the values. Probabilities of several labels need not add up to 1."""
    return values.astype(np.float64)


@dataclass(frozen=True)
class Task:
    """One kind of task. Every function works on the last axis, which has the K classes."""

    name: TaskName
    probabilities: Callable[[Values], Array]
    """Of logits."""
    logits: Callable[[Values], Array]
    """Logits with these probabilities: the inverse of `probabilities`, up to a constant."""
    normalized: Callable[[Values], Array]
    """Probabilities again, of values between 0 and 1."""
    one_is_true: bool
    """Exactly one class is true of every image."""

    def present(
        self, probabilities: Array, thresholds: Sequence[float] | None
    ) -> tuple[int, ...] | None:
        """The classes at or above their thresholds, likeliest first; None for a single-label task.

        Without thresholds each is 0.5. It may be empty: none of the classes is in the image.
        """
        if self.one_is_true:
            return None
        limits = np.full(len(probabilities), THRESHOLD) if thresholds is None else thresholds
        order = np.argsort(-probabilities, kind="stable")
        return tuple(int(k) for k in order if probabilities[k] >= limits[k])

    def check(self, tta: Mode, coverage: float | None) -> None:
        """Refuse options that have no meaning for this task.

        Raises:
            UsageError: a prediction set or a gate where several classes may be true.
        """
        if self.one_is_true:
            return
        if tta == "adaptive":
            raise UsageError(
                "tta=adaptive needs a single-label model, because its gate measures how sure one "
                "class is. This model is multi-label: several classes may be true, or none; use "
                "dense"
            )
        if coverage is not None:
            raise UsageError(
                "coverage needs a single-label model, because a prediction set contains one true "
                "class. This model is multi-label: it answers with the labels above their "
                "thresholds"
            )


SINGLE_LABEL = Task("single_label", softmax, log, to_sum_1, one_is_true=True)
MULTI_LABEL = Task("multi_label", sigmoid, logit, as_they_are, one_is_true=False)
TASKS: dict[TaskName, Task] = {task.name: task for task in (SINGLE_LABEL, MULTI_LABEL)}
