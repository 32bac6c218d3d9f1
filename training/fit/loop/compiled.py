"""The training steps through `torch.compile`. Validation and checkpoints use the network itself."""

from typing import Any

import torch
from fastai.callback.core import Callback


class Compiled(Callback):
    """Compile the network at its first step, and again for each size of the crops."""

    learn: Any
    order = 40  # after distributed training has wrapped the network

    def __init__(self) -> None:
        self.plain: Any = None
        self.compiled: Any = None

    def before_train(self) -> None:
        if self.compiled is None or self.plain is not self.learn.model:
            self.plain = self.learn.model
            self.compiled = torch.compile(self.plain, dynamic=False)
        self.learn.model = self.compiled

    def after_train(self) -> None:
        self.learn.model = self.plain

    def after_cancel_fit(self) -> None:
        if self.plain is not None:
            self.learn.model = self.plain
