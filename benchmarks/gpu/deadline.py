"""End a part, or the whole run, in time: SIGTERM and a timer raise an exception in the main thread.

A part looks at the clock between its figures. If a command or a server hangs, it cannot look, and
the timer ends it.
"""

import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType


class Ended(BaseException):
    """Not an `Exception`: code that goes on after any error must not go on after this one."""


class PartOver(Ended):
    """A part took much longer than its time."""


class RunOver(Ended):
    """The run was told to end."""


@contextmanager
def ended_by_sigterm() -> Generator[None]:
    """SIGTERM raises `RunOver` in the block, so that everything is closed and written.

    Another SIGTERM during this is ignored.
    """

    def end(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise RunOver("SIGTERM")

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def at_most(seconds: float) -> Generator[None]:
    """The block is ended with `PartOver` after so many seconds."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise PartOver(f"it was ended after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
