"""Stages to fits. A fit is a learning-rate schedule, a number of epochs, and parameters."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastai.callback.schedule import ParamScheduler, combined_cos
from fastai.learner import Learner

from training.recipe import Stage

MOMENTA = (0.95, 0.85, 0.95)


@dataclass(frozen=True)
class Fit:
    """One call of `Learner.fit`."""

    stage: Stage
    epochs: int
    lr: float | slice
    frozen: bool
    pct_start: float
    div: float = 25.0
    flat: bool = False
    warm_up: float | None = None
    """Not None: a cosine after a linear warm-up over this share of the fit."""


def fits(stages: tuple[Stage, ...]) -> list[Fit]:
    """The fits of a recipe, in order; a `fine_tune` stage is two of them, as in fastai."""
    planned: list[Fit] = []
    for stage in stages:
        if stage.schedule == "one_cycle":
            planned.append(Fit(stage, stage.epochs, stage.lr, False, 0.25))
        elif stage.schedule == "flat_cos":
            planned.append(Fit(stage, stage.epochs, stage.lr, False, 0.72, flat=True))
        elif stage.schedule == "cosine":
            planned.append(Fit(stage, stage.epochs, stage.lr, False, 0.0, warm_up=stage.warm_up))
        else:
            if stage.frozen_epochs:
                planned.append(Fit(stage, stage.frozen_epochs, stage.lr, True, 0.99))
            base = stage.lr / 2
            spread = slice(base / 100, base)
            planned.append(Fit(stage, stage.epochs, spread, False, 0.3, div=5.0))
    return planned


def warm_cosine(peak: Any, warm_up: float) -> Callable[[float], Any]:
    """The learning rate at each position 0..1 of a fit: linear up to `peak`, then half a cosine.

    `warm_up` is the share of the fit in which the rate grows. Like the other schedules this one
    ends, and begins, at a hundred thousandth of the peak.
    """

    def rate(position: float) -> Any:
        if position < warm_up:
            share = position / warm_up
        else:
            share = (1 + math.cos(math.pi * (position - warm_up) / (1 - warm_up))) / 2
        return peak * max(share, 1e-5)

    return rate


class PlannedScheduler(ParamScheduler):
    """A scheduler whose epochs are not equally long: `at` says where in the schedule a share of the
    current epoch is."""

    iter: int
    n_iter: int

    def __init__(self, curves: dict[str, Any], at: Callable[[float], float]) -> None:
        super().__init__(curves)
        self.at = at

    def before_batch(self) -> None:
        self._update_val(self.at(self.iter / self.n_iter))


def scheduler(
    learn: Learner, fit: Fit, at: Callable[[float], float] | None = None
) -> ParamScheduler:
    """The callback that changes learning rate and momentum. It depends only on the position in the
    fit, so a resumed fit continues the same schedule. For `at`, see `PlannedScheduler`."""
    optimizer: Any = learn.opt
    optimizer.set_hyper("lr", fit.lr)
    peak = np.array([hyper["lr"] for hyper in optimizer.hypers])
    if fit.warm_up is not None:
        curves: dict[str, Any] = {"lr": warm_cosine(peak, fit.warm_up)}
    elif fit.flat:
        curves = {"lr": combined_cos(fit.pct_start, peak, peak, peak / 1e5)}
    else:
        curves = {
            "lr": combined_cos(fit.pct_start, peak / fit.div, peak, peak / 1e5),
            "mom": combined_cos(fit.pct_start, *MOMENTA),
        }
    return PlannedScheduler(curves, at) if at else ParamScheduler(curves)
