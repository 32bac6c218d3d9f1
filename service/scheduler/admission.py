"""Who is let in: views admitted and not yet answered, and how long one more would take.

A request that cannot make its deadline is refused before any work is spent on it.
"""

import asyncio
import math
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Protocol

from service.errors import Overloaded, ShuttingDown

AVERAGED_S = 1.0
"""The rate is that of about the last so many seconds. Over fewer answers it swings, and under
overload every upward swing lets in at once whoever knocks."""
HEADROOM = 0.4
"""A wait is estimated, and a machine may slow down: a request is let in where it would take this
share of its time at most."""


class Observer(Protocol):
    """Who wants to know what happens inside."""

    def batch(self, views: int, seconds: float) -> None: ...
    def waited(self, seconds: float) -> None: ...
    def refused(self, reason: str) -> None: ...
    def admitted(self, views: int) -> None: ...


class Nobody:
    """The observer that looks away."""

    def batch(self, views: int, seconds: float) -> None: ...
    def waited(self, seconds: float) -> None: ...
    def refused(self, reason: str) -> None: ...
    def admitted(self, views: int) -> None: ...


class Admission:
    """The bound on waiting views, and an estimate of the wait from the rate of late."""

    def __init__(
        self, max_queue_views: int, observer: Observer, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.views = 0
        """Views of images not yet answered: those they were admitted with, and second passes."""
        self.seconds_per_view = 0.0
        """Of those that images were admitted with; what a second pass costs is in it."""
        self._admitted = 0
        self._max_queue_views = max_queue_views
        self._observer = observer
        self._clock = clock
        self._last_progress = 0.0
        self._recent_s = self._recent_views = 0.0
        self._draining = False
        self._lock = threading.Lock()
        self._empty = asyncio.Event()
        self._empty.set()

    def wait_s(self, views: int) -> float:
        """How long `views` more views would take from now; 0 when nothing is waiting."""
        return (self._admitted + views) * self.seconds_per_view if self.views else 0.0

    def pressure(self, views: int, timeout_s: float) -> float:
        """How near `views` more would come to a refusal: from 0, idle, to 1, refused."""
        full = (self.views + views) / self._max_queue_views if self.views else 0.0
        return max(full, self.wait_s(views) / (HEADROOM * timeout_s))

    def check(self, views: int, timeout_s: float) -> None:
        """Refuse now what could not be answered in time. An idle server tries whatever it gets.

        Raises:
            Overloaded: the queue is full, or too long for the deadline.
            ShuttingDown: draining.
        """
        if self._draining:
            self._observer.refused("draining")
            raise ShuttingDown("the server is shutting down")
        wait_s = self.wait_s(views)
        if self.views and self.views + views > self._max_queue_views:
            self._observer.refused("queue_full")
            raise Overloaded(
                f"{self.views} views are waiting and the limit is {self._max_queue_views} "
                "(QUINCUNX_MAX_QUEUE_VIEWS)",
                retry_after_s=wait_s,
            )
        most_s = HEADROOM * timeout_s
        if wait_s > most_s:
            self._observer.refused("deadline")
            raise Overloaded(
                f"an answer would take about {wait_s * 1000:.0f} ms; the limit is "
                f"{most_s * 1000:.0f} ms, {HEADROOM:.0%} of the deadline (X-Request-Timeout-Ms)",
                retry_after_s=wait_s - most_s,
            )

    @contextmanager
    def admit(self, views: int, timeout_s: float) -> Generator[None]:
        """Hold a place for `views` views; see `check` for what it raises."""
        self.check(views, timeout_s)
        if not self.views:
            self._last_progress = self._clock()
        self._admitted += views
        self._empty.clear()
        self.count(views)
        try:
            yield
        finally:
            self.count(-views)
            self._admitted -= views
            if not self._admitted:
                self._empty.set()

    def count(self, views: int) -> None:
        """Count `views` more, or fewer: an image that was admitted is not refused a second pass.

        From any thread.
        """
        if views:
            with self._lock:
                self.views += views
            self._observer.admitted(views)

    def answered(self, views: int) -> None:
        """Learn the rate from an image that is answered and was admitted with `views` views.

        Not from batches: of what one view will cost, its second pass and its decoding are part.
        """
        elapsed_s = self._clock() - self._last_progress
        kept = math.exp(-elapsed_s / AVERAGED_S)
        # Sums, not a mean of rates: images of one batch are answered together.
        self._recent_s = kept * self._recent_s + elapsed_s
        self._recent_views = kept * self._recent_views + views
        self._last_progress += elapsed_s
        self.seconds_per_view = self._recent_s / self._recent_views

    async def drain(self) -> None:
        """Refuse what comes from now on, and wait until what was admitted is answered."""
        self._draining = True
        await self._empty.wait()
