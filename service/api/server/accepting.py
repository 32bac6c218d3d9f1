# pyright: reportMissingTypeStubs=false
"""New connections go to the worker that has the fewest.

All workers wait on one listening socket. Without a rule, the first worker to wake up takes all
waiting connections. Clients keep their connections, so one worker would then do most of the work.
Here a worker takes one connection at a time, and leaves it to the others while one of them has
fewer. Every worker writes its number of connections into the memory that they share.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from uvicorn import Config, Server

from service.api.server.shared_memory import Shared

logger = logging.getLogger("quincunx.connections")

DEFER_S = 0.002
MOST_DEFERRALS = 8
"""After this many deferrals in a row, a worker takes the connection, because the others may be
busy."""
FORGET_S = 0.5
"""Deferrals that are further apart are not in a row."""
NO_FILES_S = 1.0
"""Pause after an error of `accept`, such as too many open files."""


class Acceptor:
    """Takes connections from a listening socket in turn with other processes."""

    def __init__(
        self,
        listener: socket.socket,
        connect: Callable[[socket.socket], Awaitable[object]],
        own: Callable[[], int],
        fewest_of_others: Callable[[], int | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`connect` serves a connection.

        `own` and `fewest_of_others` count connections; None: there are no others. Call it from the
        event loop.
        """
        self._listener = listener
        self._connect = connect
        self._own = own
        self._fewest_of_others = fewest_of_others
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._connecting: set[asyncio.Task[None]] = set()
        self._deferrals = 0
        self._deferred_at = 0.0
        self._closed = False
        listener.setblocking(False)
        self._resume()

    def close(self) -> None:
        """Take no more connections."""
        self._closed = True
        self._loop.remove_reader(self._listener.fileno())

    def _resume(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._listener.fileno(), self._ready)

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener.fileno())
        self._loop.call_later(seconds, self._resume)

    def _ready(self) -> None:
        """A connection waits, or did when this process woke up."""
        if self._should_defer():
            self._pause(DEFER_S)
            return
        try:
            accepted, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):  # another took it
            return
        except OSError as error:  # no file can be opened
            logger.error("no connection can be accepted: %s", error.strerror or error)
            self._pause(NO_FILES_S)
            return
        accepted.setblocking(False)
        with suppress(OSError):  # not TCP
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = self._loop.create_task(self._serve(accepted))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def _should_defer(self) -> bool:
        fewest, now = self._fewest_of_others(), self._clock()
        if now - self._deferred_at > FORGET_S:
            self._deferrals = 0
        own = self._own() + len(self._connecting)
        if fewest is None or own <= fewest or self._deferrals >= MOST_DEFERRALS:
            self._deferrals = 0
            return False
        self._deferrals += 1
        self._deferred_at = now
        return True

    async def _serve(self, accepted: socket.socket) -> None:
        try:
            await self._connect(accepted)
        except (OSError, ConnectionError, TimeoutError) as error:  # also a failed TLS handshake
            logger.info("a connection failed at its start: %s", error)
            accepted.close()


class BalancedServer(Server):
    """uvicorn's server, whose connections are shared evenly with the other workers."""

    shared: Shared
    """The memory of the workers; set on the class before the start."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._acceptors: list[Acceptor] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then take connections."""
        await super().startup(sockets=[])
        config, state, loop = self.config, self.server_state, asyncio.get_running_loop()

        def protocol() -> asyncio.Protocol:
            make: Any = config.http_protocol_class
            return make(config=config, server_state=state, app_state=self.lifespan.state)

        def connect(accepted: socket.socket) -> Awaitable[object]:
            return loop.connect_accepted_socket(protocol, accepted, ssl=config.ssl)

        self._acceptors = [
            Acceptor(
                listener,
                connect,
                own=lambda: len(state.connections),
                fewest_of_others=self.shared.fewest_connections_of_others,
            )
            for listener in sockets or ()
        ]

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, and end as uvicorn does."""
        for acceptor in self._acceptors:
            acceptor.close()
        await super().shutdown(sockets=sockets)
