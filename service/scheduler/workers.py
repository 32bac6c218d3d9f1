"""A pool of threads, one for each core. It does the work that is nearest to an answer first.

Decoding and inference compete for the same cores. In two pools they would share the cores, and
every image in flight would slow down all others. In one pool images are finished in turn.

No work is submitted to the pool: an idle thread asks its sources for their most urgent work. So a
batch is formed at the moment it can start, from all views that wait by then.
"""

import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from enum import IntEnum

Work = Callable[[], None]
Take = Callable[[], Work | None]
"""Returns the next piece of work of a source, or None. One thread of a pool calls it at a time."""

logger = logging.getLogger("quincunx.workers")

NICER = 5
"""How much is added to the niceness of a worker, so that the event loop goes first."""


class Urgency(IntEnum):
    """The order of work: the lowest value goes first."""

    FINISH = 0
    """Read the results of an image."""
    BATCH = 1
    PREPARE = 2
    """Decode an image and cut its first views."""


class Workers:
    """A fixed number of threads that take work from the same sources, the most urgent first."""

    def __init__(self, threads: int, *, nicer: int = NICER, name: str = "worker") -> None:
        self._changed = threading.Condition()
        self._sources: dict[Urgency, deque[Take]] = {urgency: deque() for urgency in Urgency}
        self._nicer = nicer
        self._closing = False
        self.idle = 0
        """Threads that wait for work."""
        for number in range(threads):
            threading.Thread(target=self._work, name=f"{name}_{number}", daemon=True).start()

    def add(self, urgency: Urgency, take: Take) -> None:
        """Ask `take` for work of this urgency, in turn with the other sources of it."""
        with self._changed:
            self._sources[urgency].append(take)

    def remove(self, urgency: Urgency, take: Take) -> None:
        """Stop asking `take` for work."""
        with self._changed:
            if take in self._sources[urgency]:
                self._sources[urgency].remove(take)

    def wake(self, threads: int = 1) -> None:
        """Tell at most `threads` idle threads that there is new work.

        The caller must not hold a lock that a source takes.
        """
        if threads > 0:
            with self._changed:
                self._changed.notify(threads)

    def shutdown(self) -> None:
        """Let the threads end when no work is left. Returns at once."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def _work(self) -> None:
        _step_back(self._nicer)
        while (work := self._next()) is not None:
            try:
                work()
            except Exception:  # a bug of ours: the thread must survive it
                logger.exception("work failed")
            del work  # an idle thread must not keep an image in memory

    def _next(self) -> Work | None:
        with self._changed:
            while (work := self._most_urgent()) is None and not self._closing:
                self.idle += 1
                self._changed.wait()
                self.idle -= 1
            return work

    def _most_urgent(self) -> Work | None:
        for sources in self._sources.values():
            for _ in range(len(sources)):
                take = sources[0]
                sources.rotate(-1)
                if (work := take()) is not None:
                    return work
        return None


def _step_back(nicer: int) -> None:
    """Give the event loop priority: it needs little time, and every request waits for it.

    Only Linux has a niceness for each thread.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        own = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, own + nicer)
