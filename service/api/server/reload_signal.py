"""One reload for all workers of a server.

A request to reload reaches one worker. When that worker has loaded the models, it changes a token
in the memory that all workers share. Then the others load the packages on the disk too.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from service.api.server.shared_memory import Shared
from service.errors import QuincunxError, ShuttingDown

logger = logging.getLogger("quincunx.models")

INTERVAL_S = 0.5
RETRIES_S = (1.0, 5.0, 15.0)
"""Pauses of a worker before it tries a failed reload again."""


class Reloads:
    """The reloads of one server, as one worker sees them."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._seen = shared.token

    def announce(self) -> None:
        """Tell the other workers that this one has loaded the packages on the disk."""
        self._seen = self._shared.announce()

    async def follow(self, load: Callable[[], Awaitable[object]]) -> None:
        """Call `load` after each announcement of another worker, until this task is cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            token = self._shared.token
            if token != self._seen:
                self._seen = token
                await self._load(load)

    async def _load(self, load: Callable[[], Awaitable[object]]) -> None:
        """Load, and try again if it fails. A newer announcement ends the tries."""
        for wait_s in (*RETRIES_S, None):
            try:
                await load()
            except ShuttingDown:  # this worker ends: it needs no other models
                return
            except Exception as error:  # the old models stay in service, and the watch goes on
                again = "this worker serves its old models" if wait_s is None else "it tries again"
                # A package that is refused says why in its message.
                known = isinstance(error, QuincunxError)
                text = "a reload failed in this worker; %s: %s"
                logger.error(text, again, error, exc_info=None if known else error)
            else:
                return
            if wait_s is None:
                return
            await asyncio.sleep(wait_s)
            if self._shared.token != self._seen:
                return
