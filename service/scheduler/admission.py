"""Admission: count the views that are not yet answered, and estimate how long one more would take.

A request that cannot meet its deadline is refused before any work is spent on it.
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
"""The rate is averaged over about this many seconds. A shorter average varies more, and under
overload every upward swing would admit a burst of requests."""
HEADROOM = 0.4
"""A request is admitted if its estimated wait is at most this share of its deadline. The rest is
reserve, because the estimate may be wrong and the machine may slow down."""


class Observer(Protocol):
    """Counts what happens in the scheduler."""

    def batch(self, views: int, seconds: float) -> None: ...
    def waited(self, seconds: float) -> None: ...
    def refused(self, reason: str) -> None: ...
    def admitted(self, views: int) -> None: ...


class NullObserver:
    """An observer that ignores everything."""

    def batch(self, views: int, seconds: float) -> None: ...
    def waited(self, seconds: float) -> None: ...
    def refused(self, reason: str) -> None: ...
    def admitted(self, views: int) -> None: ...


class Admission:
    """The limit on waiting views, and an estimate of the wait from the recent rate."""

    def __init__(
        self, max_queue_views: int, observer: Observer, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.views = 0
        """Views of images not yet answered: of their first step, and of second passes."""
        self.seconds_per_view = 0.0
        """Time for each view of a first step. It includes the cost of second passes."""
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
        """How long `views` more views would take from now; 0 if nothing waits."""
        return (self._admitted + views) * self.seconds_per_view if self.views else 0.0

    def pressure(self, views: int, timeout_s: float) -> float:
        """How full the queue would be with `views` more views: 0 is idle, above 1 it is refused."""
        full = (self.views + views) / self._max_queue_views if self.views else 0.0
        return max(full, self.wait_s(views) / (HEADROOM * timeout_s))

    def check(self, views: int, timeout_s: float) -> None:
        """Refuse `views` that could not be answered in time. An idle server admits every request.

        Raises:
            Overloaded: the queue is full, or too long for the deadline.
            ShuttingDown: the server is shutting down.
        """
        if self._draining:
            self._observer.refused("draining")
            raise ShuttingDown("the server is shutting down")
        wait_s = self.wait_s(views)
        if self.views and self.views + views > self._max_queue_views:
            self._observer.refused("queue_full")
            raise Overloaded(
                f"{self.views} views are waiting, and this request needs {views} more; the limit "
                f"is {self._max_queue_views} (QUINCUNX_MAX_QUEUE_VIEWS)",
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
        """Count `views` views as waiting until the block ends. Raises what `check` raises."""
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
        """Count `views` more views, or fewer. Never refuses: the image was admitted before.

        May be called from any thread.
        """
        if views:
            with self._lock:
                self.views += views
            self._observer.admitted(views)

    def answered(self, views: int) -> None:
        """Update the rate with an answered image that was admitted with `views` views.

        The time of a batch would be too short: decoding and second passes cost time too.
        """
        elapsed_s = self._clock() - self._last_progress
        kept = math.exp(-elapsed_s / AVERAGED_S)
        # Sums, not a mean of rates, because the images of one batch are answered together.
        self._recent_s = kept * self._recent_s + elapsed_s
        self._recent_views = kept * self._recent_views + views
        self._last_progress += elapsed_s
        self.seconds_per_view = self._recent_s / self._recent_views

    async def drain(self) -> None:
        """Refuse new requests, and wait until the admitted ones are answered."""
        self._draining = True
        await self._empty.wait()
