"""Answers that their client does not take: counted, and dropped when it makes no progress."""

import asyncio
from asyncio.events import TimerHandle

from service.api.transport.connections import Connections

LEAST_BYTES = 64 * 1024
"""What a client must take of its answer between two looks."""


class Unsent:
    """Watches one connection while there are bytes that its client has not taken."""

    def __init__(self, transport: asyncio.Transport, others: Connections) -> None:
        self._transport = transport
        self._others = others
        self._every_s = others.limits.send_timeout_s
        self._bytes = 0
        self._last = False
        self._timer: TimerHandle | None = None

    def watch(self) -> None:
        """Look at the connection from now on, if anything is unsent."""
        size = self._transport.get_write_buffer_size()
        self._count(size)
        if size and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._every_s, self._look)

    def end(self) -> None:
        """The server is about to end: what the next look finds unsent is dropped."""
        self._last = True
        self.watch()

    def stop(self) -> None:
        """The connection is gone."""
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
