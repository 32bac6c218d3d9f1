"""A number of epochs that ends a run in a given time, with its schedule complete.

The run starts with the recipe's number of epochs. After each epoch the plan is made again from the
measured speed: the remaining epochs share the rest of the schedule evenly. So the last epoch ends
where the schedule ends, and the run ends in its time also if its speed changes. Crops that grow
make epochs slower: a size that was not measured yet counts by its pixels.

The plan is part of the checkpoint. A resumed run goes on with it.
"""

from collections.abc import Callable
from statistics import mean
from time import monotonic
from typing import Any

from service.errors import UsageError
from training.recipe import Recipe, Stage
from training.run.checkpoint import Checkpoint

RESERVE = 0.02
"""Share of the time that is not planned for, because the last epochs may be slower."""
OVERRUN = 0.1
"""Share of the time by which a run may be late without a message."""
SAMPLES = 200
"""Points of the remaining schedule whose sizes tell the mean time of its epochs."""
KEPT = 10
"""Measured epochs of each size that an estimate is the mean of."""


class TimePlan:
    """The planned epochs of one stage, and how far each goes through the schedule."""

    def __init__(
        self,
        minutes: float,
        stage: Stage,
        saved: dict[str, Any] | None = None,
        clock: Callable[[], float] = monotonic,
        started: float | None = None,
    ) -> None:
        """Begin, or go on with the `saved` plan of a resumed run. The time runs from `started`,
        which `clock` gave, or from here.

        Raises:
            UsageError: `minutes` is not above 0.
        """
        if minutes <= 0:
            raise UsageError(f"--minutes must be above 0, but got {minutes:g}")
        self.minutes, self.stage, self.clock = minutes, stage, clock
        saved = saved or {}
        self.epochs: int = saved.get("epochs", stage.epochs)
        self.positions: list[float] = list(saved.get("positions", [0.0]))
        """Where in the schedule, 0..1, each epoch that is done began, and where the next begins."""
        self.seconds: dict[int, list[float]] = {
            int(size_px): list(values) for size_px, values in saved.get("seconds", {}).items()
        }
        self.spent_before: float = saved.get("spent_s", 0.0)
        self.epoch_began = clock()
        self.started = self.epoch_began if started is None else started

    def to_json(self) -> dict[str, Any]:
        """What a checkpoint stores."""
        return {
            "minutes": self.minutes,
            "epochs": self.epochs,
            "positions": self.positions,
            "seconds": {str(size_px): values for size_px, values in self.seconds.items()},
            "spent_s": round(self.spent_s(), 2),
        }

    @property
    def complete(self) -> bool:
        """Whether the last epoch is done."""
        return self.positions[-1] >= 1

    def spent_s(self) -> float:
        """Seconds of all processes of the run so far."""
        return self.spent_before + self.clock() - self.started

    def left_s(self) -> float:
        """Seconds that are left to plan for."""
        return 60 * self.minutes * (1 - RESERVE) - self.spent_s()

    def overrun(self) -> str:
        """A message about a run that took longer than its time; "" for one that did not.

        The first epoch is always finished if it has too few batches to be measured early.
        """
        spent_s = self.spent_s()
        if spent_s <= 60 * self.minutes * (1 + OVERRUN):
            return ""
        return (
            f"warning: the training took {spent_s:.0f} s, more than --minutes {self.minutes:g} "
            f"({60 * self.minutes:.0f} s). Its schedule is complete"
        )

    def at(self, share: float) -> float:
        """The position in the schedule after this share of the current epoch."""
        done = len(self.positions) - 1
        return self.positions[-1] + share * (1 - self.positions[-1]) / (self.epochs - done)

    def size_px(self) -> int:
        """The side of the crops of the current epoch."""
        return self._size_at(self.positions[-1])

    def begin_epoch(self) -> None:
        """The next epoch begins now."""
        self.epoch_began = self.clock()

    def check_first_epoch(self, share: float) -> None:
        """Stop after a share of the first epoch if it cannot end in time.

        Raises:
            UsageError: it takes longer than the time that is left.
        """
        taken = self.clock() - self.epoch_began
        if len(self.positions) == 1 and taken / share - taken > self.left_s():
            raise UsageError(
                f"one epoch takes about {taken / share:.0f} s, and --minutes {self.minutes:g} "
                "leaves no time for it: allow more minutes, or train on fewer images "
                "(--set subset_share=…)"
            )

    def end_epoch(self) -> None:
        """The current epoch ended: note its time, and plan the remaining epochs."""
        now = self.clock()
        size_px, taken = self.size_px(), now - self.epoch_began
        if len(self.positions) == 2:  # the first epoch also started everything
            self.seconds = {}
        self.seconds[size_px] = [*self.seconds.get(size_px, []), round(taken, 3)][-KEPT:]
        done = len(self.positions)
        self.positions.append(1.0 if done == self.epochs else self.at(1))
        if not self.complete:
            self.epochs = done + self._most_epochs(self.left_s())

    def _most_epochs(self, left_s: float) -> int:
        """About the most epochs, at least 1, that complete the schedule in `left_s` seconds."""
        position = self.positions[-1]
        rest = [position + (1 - position) * (i + 0.5) / SAMPLES for i in range(SAMPLES)]
        average_s = mean(self._epoch_s(self._size_at(point)) for point in rest)
        return max(1, int(left_s / average_s))

    def _epoch_s(self, size_px: int) -> float:
        if size_px in self.seconds:
            return max(mean(self.seconds[size_px]), 1e-3)
        nearest = min(self.seconds, key=lambda known: abs(known - size_px))
        return max(mean(self.seconds[nearest]) * (size_px / nearest) ** 2, 1e-3)

    def _size_at(self, position: float) -> int:
        return self.stage.size_at(position * self.stage.epochs)


def time_plan(
    minutes: float | None, recipe: Recipe, state: Checkpoint | None, started: float
) -> TimePlan | None:
    """The plan of a run: that of `minutes`, that of a resumed run's `state`, or none.

    Raises:
        UsageError: a resumed run has another plan, or the recipe has several stages.
    """
    first, *more = recipe.stages
    saved = state.facts.get("plan") if state else None
    if state and minutes is not None and minutes != (saved or {}).get("minutes"):
        began = f"--minutes {saved['minutes']:g}" if saved else "no --minutes"
        raise UsageError(
            f"--resume keeps the plan of the run, which began with {began}, but got "
            f"--minutes {minutes:g}"
        )
    if saved:
        return TimePlan(saved["minutes"], first, saved, started=started)
    if minutes is None:
        return None
    if more or first.schedule == "fine_tune":
        raise UsageError(
            "--minutes plans recipes of one stage that is not fine_tune, such as gpu or small-cpu"
        )
    return TimePlan(minutes, first, started=started)
