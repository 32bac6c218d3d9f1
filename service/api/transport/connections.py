"""State that the connections of one process share: limits, counts, and the idle connections."""

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from starlette.responses import Response

from service.api.http.inflight import Inflight
from service.errors import QuincunxError
from service.settings import Settings

logger = logging.getLogger("quincunx.connections")

Reason = Literal["silent", "slow", "unread", "evicted", "full"]
MEANING: dict[Reason, str] = {
    "silent": "no request came (QUINCUNX_HEADER_TIMEOUT_MS)",
    "slow": "a request did not come whole in time (QUINCUNX_HEADER_TIMEOUT_MS)",
    "unread": "an answer was not taken (QUINCUNX_SEND_TIMEOUT_MS)",
    "evicted": "silent, and another came at the limit (QUINCUNX_MAX_CONNECTIONS)",
    "full": "came at the limit, with none silent (QUINCUNX_MAX_CONNECTIONS)",
}
URGENT: frozenset[Reason] = frozenset({"unread", "evicted", "full"})
TELL_EVERY_S = 1.0
SPARE_FILES = 32
"""Files that a process may need beside connections: packages, its log, libraries."""


@dataclass(frozen=True)
class Limits:
    """The limits on one connection, and on their number."""

    max_header_bytes: int
    max_headers: int
    header_timeout_s: float
    keep_alive_s: float
    send_timeout_s: float
    max_connections: int

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        return cls(
            max_header_bytes=settings.max_header_bytes,
            max_headers=settings.max_headers,
            header_timeout_s=settings.header_timeout_ms / 1000,
            keep_alive_s=settings.keep_alive_ms / 1000,
            send_timeout_s=settings.send_timeout_ms / 1000,
            max_connections=settings.max_connections or connections_for_files(),
        )


class IdleConnection(Protocol):
    """A connection that can be closed without a loss."""

    def evict(self) -> None: ...


class Connections:
    """State that the connections of one process share. Use it from one event loop."""

    def __init__(
        self,
        limits: Limits,
        inflight: Inflight,
        *,
        refusal: Callable[[str, QuincunxError], Response],
        closed: Callable[[str], None] = lambda reason: None,
        counted: Callable[[int], None] = lambda number: None,
    ) -> None:
        """`refusal` makes the answer to a request that reaches no handler, from its path and error.

        `closed` is called with the reason for each connection that the server ends.
        `counted` is called with the number of open connections when it changes.
        """
        self.limits = limits
        self.inflight = inflight
        self.refusal = refusal
        self._closed = closed
        self.counted = counted
        self._idle: dict[IdleConnection, None] = {}
        self._counts: Counter[Reason] = Counter()
        self._telling = False

    def idle(self, connection: IdleConnection) -> None:
        """The connection waits for a request. It is now the last one to be evicted."""
        self._idle.pop(connection, None)
        self._idle[connection] = None

    def busy(self, connection: IdleConnection) -> None:
        """The connection has a request, or is gone."""
        self._idle.pop(connection, None)

    def evict_one(self) -> bool:
        """Close the connection that has been idle for longest; False if there is none."""
        for connection in self._idle:
            self.busy(connection)
            connection.evict()
            return True
        return False

    def close(self, reason: Reason) -> None:
        """Count a connection that the server ended, and log them together after a while."""
        self._closed(reason)
        self._counts[reason] += 1
        if not self._telling:
            self._telling = True
            asyncio.get_running_loop().call_later(TELL_EVERY_S, self._tell)

    def _tell(self) -> None:
        self._telling = False
        counts, self._counts = self._counts, Counter()
        level = logging.WARNING if URGENT & counts.keys() else logging.INFO
        what = "; ".join(f"{count}: {MEANING[reason]}" for reason, count in counts.items())
        fields = {f"{reason}_connections": count for reason, count in counts.items()}
        logger.log(level, "closed connections: %s", what, extra={"fields": fields})


def connections_for_files() -> int:
    """As many connections as this process may still open files, less a few."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return 10_000
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 1_000_000
    return max(8, soft - _open_files() - SPARE_FILES)


def _open_files() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:  # not Linux
        return 64
