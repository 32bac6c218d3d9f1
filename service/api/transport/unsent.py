"""Count answers that clients do not read, and drop connections without progress."""

import asyncio
from asyncio.events import TimerHandle

from service.api.transport.connections import Connections

LEAST_BYTES = 64 * 1024
"""Bytes of its answer that a client must read between two checks."""


class Unsent:
    """Watches one connection while it has bytes that its client has not read."""

    def __init__(self, transport: asyncio.Transport, others: Connections) -> None:
        self._transport = transport
        self._others = others
        self._every_s = others.limits.send_timeout_s
        self._bytes = 0
        self._last = False
        self._timer: TimerHandle | None = None

    def watch(self) -> None:
        """Start checking the connection if bytes are unsent."""
        size = self._transport.get_write_buffer_size()
        self._count(size)
        if size and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._every_s, self._look)

    def end(self) -> None:
        """The server shuts down: the next check drops the connection if bytes are unsent."""
        self._last = True
        self.watch()

    def stop(self) -> None:
        """The connection is closed."""
        self._count(0)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        before, size = self._bytes, self._transport.get_write_buffer_size()
        if size and (self._last or before - size < LEAST_BYTES):
            self._others.close("unread")
            self._transport.abort()
        else:
            self.watch()

    def _count(self, size: int) -> None:
        self._others.inflight.add(size - self._bytes)
        self._bytes = size
