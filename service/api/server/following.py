"""One reload for all workers of a server.

A request reaches one worker. The worker that was told to reload, and could, changes a token in the
memory that all workers share; the others then load what lies on the disk too.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from service.api.server.shared import Shared

logger = logging.getLogger("quincunx.models")

INTERVAL_S = 0.5
RETRIES_S = (1.0, 5.0, 15.0)
"""How long a worker waits before it tries again what failed."""


class Reloads:
    """The reloads of one server, as one worker sees them."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._seen = shared.token

    def announce(self) -> None:
        """Tell the other workers that this one has loaded what lies on the disk."""
        self._seen = self._shared.announce()

    async def follow(self, load: Callable[[], Awaitable[object]]) -> None:
        """Call `load` after each announcement of another worker, for as long as this one lives."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            token = self._shared.token
            if token != self._seen:
                self._seen = token
                await self._load(load)

    async def _load(self, load: Callable[[], Awaitable[object]]) -> None:
        """Load, and try again where it fails; a newer announcement ends the tries."""
        for wait_s in (*RETRIES_S, None):
            try:
                await load()
            except Exception as error:  # what was served goes on, and so does the watch
                again = "this worker serves its old models" if wait_s is None else "it tries again"
                logger.error("a reload failed in this worker; %s", again, exc_info=error)
            else:
                return
            if wait_s is None:
                return
            await asyncio.sleep(wait_s)
            if self._shared.token != self._seen:
                return
