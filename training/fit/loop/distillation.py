"""Knowledge distillation: learn from a teacher's logits on the same crops (arXiv:1503.02531)."""

from typing import Any

import torch
from fastai.callback.core import Callback
from torch import Tensor
from torch.nn import functional

from service.package.manifest import TaskName
from training.data.stats import ChannelStats
from training.fit.loop.teacher import Logits
from training.recipe import Distillation
from training.task import TRAINING_TASKS


def class_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """The Kullback-Leibler divergence KL(teacher || student) of the softmax of logits [N, K].

    The logits are divided by the temperature, and the mean over images is multiplied by its square,
    so that the size of the gradients does not depend on it.
    """
    ours = functional.log_softmax(student / temperature, dim=1)
    theirs = functional.log_softmax(teacher / temperature, dim=1)
    each = functional.kl_div(ours, theirs, log_target=True, reduction="batchmean")
    return each * temperature**2


def label_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """The same for multi-label logits [N, K]: the mean over the yes or no of every class."""
    wanted = torch.sigmoid(teacher / temperature)
    cross = functional.binary_cross_entropy_with_logits(student / temperature, wanted)
    own = functional.binary_cross_entropy_with_logits(teacher / temperature, wanted)
    return (cross - own) * temperature**2


class Distilled(Callback):
    """Add the divergence from the teacher to the loss of each training batch.

    The teacher sees the very pixels that the student sees, mixed ones too.
    """

    learn: Any
    run_valid = False
    order = 20  # after mixed precision, whose logits are float32 by then

    def __init__(
        self, teacher: Logits, values: Distillation, stats: ChannelStats, task: TaskName
    ) -> None:
        self.teacher, self.values = teacher, values
        self.divergence = TRAINING_TASKS[task].divergence
        self.mean, self.std = (torch.tensor(v).view(1, 3, 1, 1) for v in (stats.mean, stats.std))

    def after_loss(self) -> None:
        inputs = self.x.detach().as_subclass(Tensor).float()
        self.mean, self.std = self.mean.to(inputs.device), self.std.to(inputs.device)
        wanted = self.teacher(inputs * self.std + self.mean)
        logits = self.pred.as_subclass(Tensor).float()
        term = self.divergence(logits, wanted, self.values.temperature)
        self.learn.loss_grad = self.learn.loss_grad + self.values.weight * term
        self.learn.loss = self.learn.loss_grad.detach().clone()
