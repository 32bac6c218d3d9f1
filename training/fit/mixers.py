"""Batch mixers: fastai's MixUp and CutMix, and ResizeMix, which fastai does not have.

Every mixer goes through fastai's `MixHandler`, which mixes the *losses* of the two labels. Label
smoothing is part of that loss, so both work together without code here. For multi-label data the
targets are mixed. The result is the same, because binary cross-entropy is linear in its targets.
"""

from typing import Any

import torch
from fastai.callback.core import Callback
from fastai.callback.mixup import CutMix, MixHandler, MixUp
from torch.nn import functional

from training.recipe import Recipe


class ResizeMix(MixHandler):
    """Paste a shrunk copy of another image at a random place (Qin et al., arXiv:2012.11101).

    CutMix may paste only background. A whole shrunk image always shows the object of its label. The
    side of the pasted copy is a uniformly drawn share (`scale`) of the image's side. Lambda is one
    minus the share of the pasted area.
    """

    learn: Any

    def __init__(self, scale: tuple[float, float] = (0.1, 0.8)) -> None:
        super().__init__(1.0)
        self.scale = scale

    def before_batch(self) -> None:
        batch, _, height, width = self.x.shape
        shuffle = torch.randperm(batch).to(self.x.device)
        self.yb1 = (self.y[shuffle],)
        share = torch.empty(1).uniform_(*self.scale).item()
        h, w = max(1, round(height * share)), max(1, round(width * share))
        small = functional.interpolate(
            self.x[shuffle], size=(h, w), mode="bilinear", antialias=True, align_corners=False
        )
        top = int(torch.randint(0, height - h + 1, (1,)))
        left = int(torch.randint(0, width - w + 1, (1,)))
        mixed = self.x.clone()
        mixed[..., top : top + h, left : left + w] = small
        self.learn.xb = (mixed,)
        self.lam = torch.tensor(1 - h * w / (height * width), device=self.x.device)
        if not self.stack_y:  # multi-label targets are numbers: mix the targets, not the losses
            self.learn.yb = (torch.lerp(self.yb1[0], self.y, self.lam),)


def mixer(recipe: Recipe) -> list[Callback]:
    """The callbacks of the recipe's mixer: none or one."""
    made: dict[str, Any] = {
        "none": list,
        "mixup": lambda: [MixUp(recipe.mixer_alpha)],
        "cutmix": lambda: [CutMix(recipe.mixer_alpha)],
        "resizemix": lambda: [ResizeMix()],
    }
    return made[recipe.mixer]()
