"""Batch mixers: fastai's MixUp and CutMix, ResizeMix, and a mix of several of them.

Every mixer goes through fastai's `MixHandler`, which mixes the *losses* of the two labels. Label
smoothing is part of that loss, so both work together without code here. For multi-label data the
targets are mixed. The result is the same, because binary cross-entropy is linear in its targets.

Everything random is drawn on the CPU: a value that is drawn on a GPU and used in Python makes the
CPU wait for the GPU.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from fastai.callback.core import Callback
from fastai.callback.mixup import CutMix as FastaiCutMix
from fastai.callback.mixup import MixHandler, MixUp
from torch.nn import functional

from training.recipe import Recipe


class CutMix(FastaiCutMix):
    """fastai's CutMix with the same random draws, but the box is made of Python numbers."""

    learn: Any
    distrib: Any
    stack_y: bool

    def before_batch(self) -> None:
        batch, _, height, width = self.x.shape
        drawn = float(self.distrib.sample((1,)))
        shuffle = torch.randperm(batch).to(self.x.device)
        self.yb1 = (self.y[shuffle],)
        cut = math.sqrt(1 - drawn)
        left, right = _cut(int(torch.randint(0, width, (1,))), round(width * cut), width)
        top, bottom = _cut(int(torch.randint(0, height, (1,))), round(height * cut), height)
        mixed = self.x.clone()
        mixed[..., top:bottom, left:right] = self.x[shuffle][..., top:bottom, left:right]
        self.learn.xb = (mixed,)
        kept = 1 - (right - left) * (bottom - top) / (height * width)
        self.lam = torch.tensor(kept, device=self.x.device)
        _mix_targets(self)


class ResizeMix(MixHandler):
    """Paste a shrunk copy of another image at a random place (Qin et al., arXiv:2012.11101).

    CutMix may paste only background. A whole shrunk image always shows the object of its label. The
    side of the pasted copy is a uniformly drawn share (`scale`) of the image's side. Lambda is one
    minus the share of the pasted area.
    """

    learn: Any
    stack_y: bool

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
        _mix_targets(self)


class MixtureOfMixers(MixHandler):
    """One of several mixers for each batch, drawn by their shares; the other batches stay as is."""

    learn: Any
    old_lf: Any

    def __init__(self, mixers: Sequence[MixHandler], shares: Sequence[float]) -> None:
        super().__init__(1.0)
        self.mixers, self.shares = list(mixers), list(shares)
        self.chosen: Any = None

    def before_train(self) -> None:
        super().before_train()
        for mixer in self.mixers:
            mixer.learn, mixer.stack_y = self.learn, self.stack_y  # type: ignore[attr-defined]

    def before_batch(self) -> None:
        drawn, below = float(torch.rand(1)), 0.0
        self.chosen = None
        for mixer, share in zip(self.mixers, self.shares, strict=True):
            below += share
            if drawn < below:
                self.chosen = mixer
                break
        if self.chosen is None:
            self.lam, self.yb1 = torch.tensor(1.0), self.learn.yb
            return
        self.chosen.before_batch()
        self.lam, self.yb1 = self.chosen.lam, self.chosen.yb1

    def lf(self, pred: Any, *yb: Any) -> Any:
        """The loss of mixed labels, or the plain loss of a batch that was not mixed."""
        if self.training and self.chosen is None:
            return self.old_lf(pred, *yb)
        return super().lf(pred, *yb)


def _cut(centre: int, length: int, side: int) -> tuple[int, int]:
    """Where a piece of `length` pixels around `centre` begins and ends inside of `side` pixels."""
    return max(0, centre - length // 2), min(side, centre + length // 2)


def _mix_targets(mixer: Any) -> None:
    """Multi-label targets are numbers: mix the targets, not the losses."""
    if not mixer.stack_y:
        mixer.learn.yb = (torch.lerp(mixer.yb1[0], mixer.y, mixer.lam),)


def _made(kind: str, alpha: float) -> MixHandler:
    if kind == "mixup":
        return MixUp(alpha)
    return CutMix(alpha) if kind == "cutmix" else ResizeMix()


def mixer(recipe: Recipe) -> list[Callback]:
    """The callbacks of the recipe's mixers: none or one."""
    if recipe.mixes:
        made = [_made(mix.mixer, mix.alpha) for mix in recipe.mixes]
        return [MixtureOfMixers(made, [mix.share for mix in recipe.mixes])]
    return [] if recipe.mixer == "none" else [_made(recipe.mixer, recipe.mixer_alpha)]
