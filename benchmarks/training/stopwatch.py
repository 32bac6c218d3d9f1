"""Clocks on a training step. They read the time and change nothing else.

Without phases, the time of a step is from the end of one step to the end of the next. With phases,
the clock waits for the GPU at every mark. Then each phase contains its own work only, but phases no
longer overlap. So throughput comes from steps without phases.
"""

from time import perf_counter
from typing import Any

import torch
from fastai.callback.core import (  # the exceptions are made when it is imported
    Callback,
    CancelFitException,  # type: ignore[attr-defined]
)

PHASES = ("data wait", "forward", "backward", "optimizer", "bookkeeping")


class Marks:
    """Seconds of the phases of each step that was measured."""

    def __init__(self, warm_up: int, steps: int, phases: bool) -> None:
        self.warm_up, self.steps, self.phases = warm_up, steps, phases
        self.rows: list[list[float]] = []
        self.row: list[float] = []
        self.seen = 0
        self.last = 0.0

    def mark(self) -> None:
        """The end of a phase."""
        if self.phases:
            self.row.append(self._lap())

    def end(self) -> None:
        """The end of a step. The first `warm_up` steps do not count; `steps` more end the run."""
        if self.phases or self.seen in (self.warm_up - 1, self.warm_up + self.steps - 1):
            _wait_for_gpu()  # without phases: only where the clock starts and stops
        self.row.append(self._lap())
        self.seen += 1
        if self.seen > self.warm_up:
            self.rows.append(self.row)
        self.row = []
        if self.seen == self.warm_up + self.steps:
            raise CancelFitException

    def _lap(self) -> float:
        if self.phases:
            _wait_for_gpu()
        now = perf_counter()
        lap, self.last = now - self.last, now
        return lap


class First(Callback):
    """Comes before every other callback."""

    learn: Any
    order = -1000
    run_valid = False

    def __init__(self, marks: Marks) -> None:
        self.marks = marks

    def before_train(self) -> None:
        self.marks.last = perf_counter()

    def before_batch(self) -> None:
        self.marks.mark()  # data wait

    def before_backward(self) -> None:
        self.marks.mark()  # forward: mixing, the network and the loss

    def after_backward(self) -> None:
        self.marks.mark()  # backward

    def after_batch(self) -> None:
        self.marks.mark()  # optimizer: its step, and zeroing the gradients


class Last(Callback):
    """Comes after every other callback."""

    learn: Any
    order = 1000
    run_valid = False

    def __init__(self, marks: Marks) -> None:
        self.marks = marks

    def after_batch(self) -> None:
        self.marks.end()  # bookkeeping: every callback after a step


def _wait_for_gpu() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
