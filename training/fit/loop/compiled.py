"""The training steps through `torch.compile`. Validation and checkpoints use the network itself."""

from typing import Any

import torch
from fastai.callback.core import Callback


class CompiledSteps(Callback):
    """Compile the network at its first step, and again for each size of the crops."""

    learn: Any
    order = 40  # after distributed training has wrapped the network

    def __init__(self) -> None:
        self.own: Any = None
        self.fast: Any = None

    def before_train(self) -> None:
        if self.fast is None or self.own is not self.learn.model:
            self.own = self.learn.model
            self.fast = torch.compile(self.own, dynamic=False)
        self.learn.model = self.fast

    def after_train(self) -> None:
        self.learn.model = self.own

    def after_cancel_fit(self) -> None:
        if self.own is not None:
            self.learn.model = self.own
