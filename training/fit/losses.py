"""The loss of a task: cross-entropy over classes, or binary cross-entropy for each class."""

from typing import Any

import torch
from fastai.losses import (
    BCEWithLogitsLossFlat,
    CrossEntropyLossFlat,
    LabelSmoothingCrossEntropyFlat,
)

from service.package.manifest import TaskName
from training.recipe import Recipe
from training.task import TRAINING_TASKS


class SmoothedBinaryFlat(BCEWithLogitsLossFlat):
    """Binary cross-entropy against targets y(1 - ε) + ε/2: ε/2 for no, 1 - ε/2 for yes.

    This is label smoothing over the two answers for each class. It is linear: smoothing mixed
    targets gives the mix of smoothed targets.
    """

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def __call__(self, inp: Any, targ: torch.Tensor, **kwargs: Any) -> Any:
        """The loss of logits [N, K] against targets [N, K] in 0..1."""
        return super().__call__(inp, targ.float() * (1 - self.eps) + self.eps / 2, **kwargs)


def loss_of(recipe: Recipe, task: TaskName = "single_label") -> Any:
    """The task's loss, with smoothed labels if the recipe has label smoothing."""
    return TRAINING_TASKS[task].loss(recipe.label_smoothing)


def cross_entropy(smoothing: float) -> Any:
    """The loss of logits [N, K] against class indices [N]."""
    return LabelSmoothingCrossEntropyFlat(eps=smoothing) if smoothing else CrossEntropyLossFlat()


def binary_cross_entropy(smoothing: float) -> Any:
    """The loss of logits [N, K] against targets [N, K] in 0..1."""
    return SmoothedBinaryFlat(smoothing) if smoothing else BCEWithLogitsLossFlat()
