"""The optimizers of a recipe.

`adamw`, `adam` and `sgd` are torch's, which update all weights in a few fused operations. fastai's
own optimizers update them one by one, which a GPU waits for. `adam` and `sgd` compute what fastai's
Adam and SGD compute. `ranger` exists in fastai only.
"""

from copy import deepcopy
from functools import partial
from typing import Any

import torch
from fastai.optimizer import OptimWrapper, ranger
from torch import nn

from training.recipe import Recipe

HYPERS = {"momentum": "mom", "betas__0": "mom", "betas__1": "sqr_mom"}
"""torch's names of what fastai's schedules call momentum."""
RENAMED = {"grad_avg": ("exp_avg", "momentum_buffer"), "sqr_avg": ("exp_avg_sq",)}
"""State of fastai's optimizers, in checkpoints of earlier versions, under torch's names."""


class FusedOptimizer(OptimWrapper):
    """A torch optimizer with the parameter groups, schedules and checkpoints of fastai's.

    Weight decay is decoupled (Loshchilov and Hutter, arXiv:1711.05101): before each step a weight
    is multiplied by 1 - lr * wd. It leaves out parameters whose state has `do_wd` false, as fastai
    sets it for batch normalization and biases.
    """

    opt: torch.optim.Optimizer
    state: Any

    def __init__(self, groups: Any, kind: Any, *, decay_vectors: bool, **options: Any) -> None:
        groups = list(groups)
        lists = groups if isinstance(groups[0], list | tuple) or _is_l(groups[0]) else [groups]
        made = kind(
            [{"params": list(one), "wd": 0.0} for one in lists], weight_decay=0.0, **options
        )
        super().__init__(opt=made, hp_map=HYPERS)
        self.loaded = False
        for parameter in self._parameters():
            if parameter.ndim <= 1 and not decay_vectors:
                self.state[parameter]["do_wd"] = False

    def step(self, closure: None = None) -> None:
        """Decay the weights that have a gradient, then make torch's step."""
        if self.loaded:
            self._align()
        for group in self.opt.param_groups:
            factor = 1 - float(group["lr"]) * float(group["wd"])
            decayed = [p for p in group["params"] if p.grad is not None and self._decays(p)]
            if decayed and factor != 1:
                with torch.no_grad():
                    torch._foreach_mul_(decayed, factor)  # type: ignore[attr-defined]
        self.opt.step()

    def state_dict(self) -> dict[str, Any]:
        """fastai's form: the state of each parameter in order, and the values of each group."""
        saved = self.opt.state_dict()
        state = [saved["state"].get(i, {}) for i in range(len(self._parameters()))]
        return {"state": state, "hypers": self.hypers}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Load what `state_dict` returned, or the state of fastai's Adam or SGD."""
        own = self.opt.state_dict()
        state = {i: self._renamed(one) for i, one in enumerate(saved["state"])}
        self.opt.load_state_dict(
            {
                "state": {i: one for i, one in state.items() if one},
                "param_groups": own["param_groups"],
            }
        )
        self.loaded = True
        for group, hypers in zip(self.opt.param_groups, saved["hypers"], strict=True):
            for name in ("lr", "wd"):
                group[name] = float(hypers[name])
        for name in ("mom", "sqr_mom"):
            if name in self.hypers[0]:
                self.set_hyper(name, [float(hypers[name]) for hypers in saved["hypers"]])

    def _align(self) -> None:
        """Give loaded state the memory layout of its weight. Fused steps on a CPU need it: they
        pair a weight with its state by the position in memory."""
        self.loaded = False
        for parameter, state in self.opt.state.items():
            for name, value in state.items():
                if value is not None and value.shape == parameter.shape:
                    state[name] = torch.empty_like(parameter.detach()).copy_(value)

    def _parameters(self) -> list[nn.Parameter]:
        return [p for group in self.opt.param_groups for p in group["params"]]

    def _decays(self, parameter: nn.Parameter) -> bool:
        return self.state[parameter].get("do_wd", True)

    def _renamed(self, saved: dict[str, Any]) -> dict[str, Any]:
        names = {"exp_avg", "exp_avg_sq"} if "sqr_mom" in self.hypers[0] else {"momentum_buffer"}
        state: dict[str, Any] = {}
        for name, value in saved.items():
            if name in ("do_wd", "force_train"):
                continue
            new = next((n for n in RENAMED.get(name, ()) if n in names), name)
            # A copy, because torch goes on with the very tensors that it is given.
            state[new] = torch.tensor(float(value)) if new == "step" else deepcopy(value)
        return state


def _is_l(value: Any) -> bool:
    return type(value).__name__ == "L"


def optimizer(recipe: Recipe) -> Any:
    """The function that makes the recipe's optimizer from lists of parameters and a rate."""
    fused = partial(FusedOptimizer, decay_vectors=recipe.decay_vectors, fused=True)
    made: dict[str, Any] = {
        # fastai's Adam: decoupled weight decay, and an eps of 1e-5.
        "adam": partial(fused, kind=torch.optim.AdamW, betas=(0.9, 0.99), eps=1e-5),
        "adamw": partial(fused, kind=torch.optim.AdamW, betas=(0.9, 0.99), eps=1e-8),
        "sgd": partial(fused, kind=torch.optim.SGD, momentum=0.9),
        # Momentum, square momentum and eps of the Imagenette leaderboard.
        "ranger": partial(ranger, mom=0.95, sqr_mom=0.99, eps=1e-6),
    }
    return made[recipe.optimizer]
