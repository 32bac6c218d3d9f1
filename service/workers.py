"""Threads that do the processor's work: as many as cores, and what is nearest to an answer first.

Decoding and inference compete for the same cores. In pools of their own they would share them, and
every image in flight would slow down every other; in one pool images are finished in turn.
"""

import itertools
import os
import queue
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from enum import IntEnum
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

NICER = 5
"""How much nicer a worker is than the thread that made it."""


class Urgency(IntEnum):
    """What goes first when a thread falls free."""

    FINISH = 0
    """Read the results of an image."""
    BATCH = 1
    BEGIN = 2
    """Decode an image and cut its first views."""
    STOP = 3


@dataclass(order=True)
class _Work:
    urgency: Urgency
    number: int
    """Counts up: of two that are as urgent, the first come goes first."""
    run: Callable[[], None] | None = field(compare=False)


class Workers:
    """A fixed number of threads and one queue, drawn from by urgency."""

    def __init__(self, threads: int) -> None:
        self._queue: queue.PriorityQueue[_Work] = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._threads = [
            threading.Thread(target=self._work, name=f"worker_{n}", daemon=True)
            for n in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def at(self, urgency: Urgency) -> Executor:
        """These workers as an executor whose work all has one urgency."""
        return _At(self, urgency)

    def submit(self, urgency: Urgency, work: Callable[[], T]) -> "Future[T]":
        """Have `work` done; cancelling the future before it begins takes it back."""
        future: Future[T] = Future()
        self._queue.put(_Work(urgency, next(self._numbers), lambda: _do(work, future)))
        return future

    def shutdown(self) -> None:
        """Finish what was submitted, then let the threads end. Does not wait."""
        for _ in self._threads:
            self._queue.put(_Work(Urgency.STOP, next(self._numbers), None))

    def _work(self) -> None:
        _step_back()
        while (run := self._queue.get().run) is not None:
            run()
            del run  # while the thread waits it holds no image


def _step_back() -> None:
    """Let the event loop go first: it needs little, and every request waits for it.

    Only Linux has a niceness for each thread.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        own = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, own + NICER)


def _do(work: Callable[[], T], future: "Future[T]") -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # whatever it is, it belongs to whoever waits
        future.set_exception(error)
        del future  # the error knows this frame: a circle would hold the image
    else:
        future.set_result(result)


class _At(Executor):
    def __init__(self, workers: Workers, urgency: Urgency) -> None:
        self._workers = workers
        self._urgency = urgency

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        return self._workers.submit(self._urgency, lambda: fn(*args, **kwargs))
