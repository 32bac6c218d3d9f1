"""Measure where the time of an answer goes, without a change to the code that is measured.

The code marks its stages with `stage(name)`, which does nothing unless a `StageClock` records in
the same thread:

    clock = StageClock()
    with clock.recording():
        run_all(...)
    clock.seconds["resize"]
"""

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from time import perf_counter
from typing import Literal

Stage = Literal["resize", "inference", "aggregation"]

_NOT_MEASURED = nullcontext()


class StageClock:
    """Seconds spent in each stage. A stage inside another one counts for the inner stage only."""

    def __init__(self) -> None:
        self.seconds: dict[Stage, float] = {"resize": 0.0, "inference": 0.0, "aggregation": 0.0}
        self.inner_s = 0.0
        """Time of the stages that ended inside the current one."""

    @contextmanager
    def recording(self) -> Generator[None]:
        """Record the stages of this thread until the block ends."""
        token = _clock.set(self)
        try:
            yield
        finally:
            _clock.reset(token)


_clock: ContextVar[StageClock | None] = ContextVar("stage_clock", default=None)


def stage(name: Stage) -> AbstractContextManager[None]:
    """Mark a block as this stage."""
    clock = _clock.get()
    return _Timed(clock, name) if clock else _NOT_MEASURED


class _Timed:
    """A class, not `@contextmanager`: a `StopIteration` must pass through unchanged."""

    def __init__(self, clock: StageClock, name: Stage) -> None:
        self._clock = clock
        self._name: Stage = name
        self._outer_s = self._started = 0.0

    def __enter__(self) -> None:
        self._outer_s, self._clock.inner_s = self._clock.inner_s, 0.0
        self._started = perf_counter()

    def __exit__(self, *_: object) -> None:
        elapsed_s = perf_counter() - self._started
        self._clock.seconds[self._name] += elapsed_s - self._clock.inner_s
        self._clock.inner_s = self._outer_s + elapsed_s
