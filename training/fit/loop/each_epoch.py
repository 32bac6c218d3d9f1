"""The callback of a run that seeds, resizes, shows progress and records, once an epoch."""

import math
import time
from typing import Any

from fastai.callback.core import (  # the exceptions are made when it is imported
    Callback,
    CancelFitException,  # type: ignore[attr-defined]
)
from rich.progress import Progress

from service.errors import TrainingDiverged
from training.fit import distributed
from training.fit.schedule import Fit
from training.fit.seeding import seed_all, seed_loaders

READ_LOSS_EVERY = 20
"""Batches between two looks at the loss. Each look waits until the GPU has done all its work."""


class EachEpoch(Callback):
    """Seed, resize, show progress and record, once an epoch."""

    learn: Any
    order = 60  # after the Recorder has its values, before fastai's SkipToEpoch (70)

    def __init__(self, run: Any, fit: Fit, first: int, start: int, bar: Progress) -> None:
        self.run_, self.fit_, self.first, self.start, self.bar = run, fit, first, start, bar
        self.size_px = 0

    def before_epoch(self) -> None:
        if self.epoch < self.start:
            return
        number = self.first + self.epoch
        plan = self.run_.time_plan
        if plan:
            plan.begin_epoch()
        size_px = plan.size_px() if plan else self.fit_.stage.size_at(self.epoch)
        if size_px != self.size_px:
            self.size_px = size_px
            self.learn.dls = self.run_.loaders(size_px)
        # Seed after the loaders are made: making them draws random numbers, and a resumed run makes
        # them again.
        seed_all(self.run_.recipe.seed, number + 1, distributed.process())
        seed_loaders(self.learn.dls, self.run_.recipe.seed, number)
        self.learn.recorder.smooth_loss.reset()  # per epoch, because a resumed run has no earlier
        self.began = time.monotonic()
        self.task = self.bar.add_task(
            f"epoch {number + 1}/{self.run_.total_epochs}, {size_px} px",
            total=self.run_.batches,
            loss="",
        )

    def after_batch(self) -> None:
        if not self.training:
            return
        self.bar.update(self.task, advance=1)
        number = (self.first + self.epoch) * self.run_.batches + self.iter + 1
        board = self.run_.board
        logged = board and board.takes(number)
        if self.iter % READ_LOSS_EVERY and not logged:
            return
        loss = self.check(float(self.learn.smooth_loss), "training")
        if self.run_.time_plan and self.iter >= READ_LOSS_EVERY:
            self.run_.time_plan.check_first_epoch((self.iter + 1) / self.n_iter)
        self.bar.update(self.task, loss=f"loss {loss:.4f}")
        if logged:
            lr = float(self.learn.opt.hypers[-1]["lr"])
            board.batch(number, train_loss=loss, lr=lr)

    def after_train(self) -> None:
        self.check(float(self.learn.smooth_loss), "training")  # before a checkpoint is written

    def after_epoch(self) -> None:
        if self.epoch < self.start:
            return
        self.bar.remove_task(self.task)
        train_loss, calibration_loss, accuracy = (float(v) for v in self.learn.recorder.log[1:4])
        self.check(calibration_loss, "calibration")
        self.run_.plan_on()
        self.run_.record(
            {
                "epoch": self.first + self.epoch + 1,
                "size_px": self.size_px,
                "lr": float(self.learn.opt.hypers[-1]["lr"]),
                "train_loss": train_loss,
                "calibration_loss": calibration_loss,
                "calibration_accuracy": accuracy,
                "seconds": round(time.monotonic() - self.began, 2),
            }
        )
        if self.run_.time_plan and self.run_.finished:
            raise CancelFitException

    def check(self, loss: float, of: str) -> float:
        """Stop if the loss is not a number: no later epoch can repair the weights."""
        if not math.isfinite(loss):
            rate = float(self.learn.opt.hypers[-1]["lr"])
            raise TrainingDiverged(
                f"the {of} loss became {loss} in epoch {self.first + self.epoch + 1} at a learning "
                f"rate of {rate:.2g}; nothing is exported. Lower the rate (--set stage.1.lr=…); "
                "quincunx lr-find suggests one"
            )
        return loss
