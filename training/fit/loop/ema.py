"""An exponential moving average (EMA) of the weights, beside the weights that train.

Averaged are all parameters, and the running statistics of batch normalization. Other buffers, such
as counts, are those of the network. The averaged network is validated, saved and exported.
"""

from collections.abc import Mapping
from typing import Any

import torch
from fastai.callback.core import Callback
from fastai.torch_core import get_model
from torch import nn

from training.recipe import Ema

STATISTICS = ("running_mean", "running_var")
Weights = dict[str, torch.Tensor]


def decay_at(ema: Ema, step: int) -> float:
    """The share of the average that step `step` (counted from 1) keeps."""
    if not ema.warm_up:
        return ema.decay
    return min(ema.decay, (1 + step) / (ema.warm_up + step))


class WeightAverage(Callback):
    """Update the average after each step of the optimizer, and validate with it.

    `weights` are those to start from: the network's own, or the saved average of a resumed run,
    whose `steps` are counted on.
    """

    learn: Any
    order = 30  # after the callbacks of mixed precision and of distributed training

    def __init__(self, ema: Ema, model: nn.Module, weights: Mapping[str, torch.Tensor], steps: int):
        self.ema, self.steps = ema, steps
        parameters = {name for name, _ in model.named_parameters()}
        self.average: Weights = {
            name: weights[name].detach().clone()
            for name in model.state_dict()
            if name in parameters or name.endswith(STATISTICS)
        }

    def live(self, model: nn.Module) -> Weights:
        """The values in `model` of all that is averaged."""
        state = model.state_dict()
        return {name: state[name] for name in self.average}

    def averaged(self, model: nn.Module) -> Weights:
        """The state of `model` with the average in it."""
        return {**model.state_dict(), **self.average}

    def before_train(self) -> None:
        # Once an epoch: the network may have another device or memory layout than before. Equal
        # layouts let one operation update all tensors.
        live = self.live(get_model(self.learn.model))
        self.average = {name: v.clone().copy_(self.average[name]) for name, v in live.items()}
        self.tensors, self.averages = list(live.values()), list(self.average.values())

    def after_step(self) -> None:
        self.steps += 1
        weight = 1 - decay_at(self.ema, self.steps)
        with torch.no_grad():
            torch._foreach_lerp_(self.averages, self.tensors, weight)  # type: ignore[attr-defined]

    def before_validate(self) -> None:
        with torch.no_grad():
            self.kept = [tensor.clone() for tensor in self.tensors]
            torch._foreach_copy_(self.tensors, self.averages)  # type: ignore[attr-defined]

    def after_validate(self) -> None:
        with torch.no_grad():
            torch._foreach_copy_(self.tensors, self.kept)  # type: ignore[attr-defined]
        self.kept = []
