"""One limit on the bytes that a process holds for all of its clients together.

A limit on one request is not enough, because there may be many requests. So this module counts the
bytes of every body, from its first chunk until its request is answered, and of every answer until
its client has read it.
"""

import threading
from collections.abc import Callable

from service.errors import Overloaded

RETRY_AFTER_S = 1.0


class Inflight:
    """The count. It may be used from any thread."""

    def __init__(self, max_bytes: int, changed: Callable[[int], None] | None = None) -> None:
        """`changed` is called with the difference whenever the count changes."""
        self.max_bytes = max_bytes
        self.held_bytes = 0
        self._changed = changed
        self._lock = threading.Lock()

    def check(self, more: int) -> None:
        """Refuse `more` bytes that do not fit now.

        Raises:
            Overloaded: over the limit.
        """
        if self.held_bytes + more > self.max_bytes:
            raise Overloaded(
                f"{self.held_bytes} bytes of other requests are held, and {more} more do not fit: "
                f"the limit is {self.max_bytes} (QUINCUNX_MAX_INFLIGHT_BYTES)",
                retry_after_s=RETRY_AFTER_S,
            )

    def add(self, more: int) -> None:
        """Count `more` bytes; a negative number takes bytes away. Nothing is refused."""
        if not more:
            return
        with self._lock:
            self.held_bytes += more
        if self._changed is not None:
            self._changed(more)


class Held:
    """The bytes of one request."""

    def __init__(self, inflight: Inflight) -> None:
        self._inflight = inflight
        self._bytes = 0

    def check(self, more: int) -> None:
        """Refuse `more` bytes that do not fit now; see `Inflight.check`."""
        self._inflight.check(more)

    def grow(self, more: int) -> None:
        """Hold `more` bytes; raises as `check` does."""
        self._inflight.check(more)
        self._inflight.add(more)
        self._bytes += more

    def release(self) -> None:
        """Count no bytes for this request any more."""
        self._inflight.add(-self._bytes)
        self._bytes = 0
