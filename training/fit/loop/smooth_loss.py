"""The smoothed training loss, kept on the device.

fastai's own metric copies the loss to the CPU after every batch. With a GPU this waits until the
GPU has done all its work, so the GPU is idle while Python prepares the next step.
"""

from typing import Any

import torch
from fastai.learner import AvgSmoothLoss
from fastai.torch_core import to_detach


class DeviceSmoothLoss(AvgSmoothLoss):
    """fastai's smoothed loss with the same values, as a tensor on the device of the loss."""

    beta: float
    count: int
    val: torch.Tensor

    def accumulate(self, learn: Any) -> None:
        self.count += 1
        loss: Any = to_detach(learn.loss.mean(), cpu=False)
        self.val = torch.lerp(loss, self.val.to(loss.device), self.beta)
