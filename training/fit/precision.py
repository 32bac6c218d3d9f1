"""Arithmetic of a training step: mixed precision if the hardware has it, float32 elsewhere.

On a CPU without bf16 instructions, autocast to bf16 is emulated and about three times *slower*
than float32. So it is used only if the CPU reports these instructions.
"""

from typing import Any

import torch
from fastai.callback.channelslast import ChannelsLast
from fastai.callback.core import Callback
from fastai.callback.fp16 import AMPMode, MixedPrecision


class CpuAutocast(Callback):
    """bf16 autocast around the forward pass and the loss."""

    learn: Any
    order = MixedPrecision.order

    def before_batch(self) -> None:
        self.autocast = torch.autocast("cpu", dtype=torch.bfloat16)
        self.autocast.__enter__()

    def after_loss(self) -> None:
        self.autocast.__exit__(None, None, None)
        self.learn.loss_grad = self.learn.loss_grad.float()

    def after_pred(self) -> None:
        self.learn.pred = self.learn.pred.float()


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bf16 in hardware."""
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in checks)


def callbacks() -> tuple[list[Callback], str]:
    """The callbacks for this machine, and the name of the training precision."""
    if torch.cuda.is_available():
        bf16 = torch.cuda.is_bf16_supported()
        mode = AMPMode.BF16 if bf16 else AMPMode.FP16
        return [ChannelsLast(), MixedPrecision(mode)], "bf16" if bf16 else "fp16"
    if cpu_has_bf16():
        return [ChannelsLast(), CpuAutocast()], "bf16"
    return [ChannelsLast()], "fp32"
