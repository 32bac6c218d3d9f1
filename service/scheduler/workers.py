"""Threads that do the processor's work: as many as cores, and what is nearest to an answer first.

Decoding and inference compete for the same cores. In pools of their own they would share them, and
every image in flight would slow down every other; in one pool images are finished in turn.

Nothing is submitted: a thread that falls free asks its sources for the most urgent work that there
is now. So a batch is formed when it can start, from whatever waits by then.
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
"""Gives the next piece of work of a source, or None. Called by one thread of a pool at a time."""

logger = logging.getLogger("quincunx.workers")

NICER = 5
"""How much nicer a worker is than the thread that made it."""


class Urgency(IntEnum):
    """What goes first when a thread falls free."""

    FINISH = 0
    """Read the results of an image."""
    BATCH = 1
    BEGIN = 2
    """Decode an image and cut its first views."""


class Workers:
    """A fixed number of threads that draw from the same sources by urgency."""

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
        """Ask it no more."""
        with self._changed:
            if take in self._sources[urgency]:
                self._sources[urgency].remove(take)

    def wake(self, threads: int = 1) -> None:
        """A source has new work, for so many threads at most. Hold no lock that it takes."""
        if threads > 0:
            with self._changed:
                self._changed.notify(threads)

    def shutdown(self) -> None:
        """Do what there is to do, then let the threads end. Does not wait."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def _work(self) -> None:
        _step_back(self._nicer)
        while (work := self._next()) is not None:
            try:
                work()
            except Exception:  # a mistake of ours: it must not take a thread away from all
                logger.exception("work failed")
            del work  # while the thread waits it holds no image

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
    """Let the event loop go first: it needs little, and every request waits for it.

    Only Linux has a niceness for each thread.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        own = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, own + nicer)
