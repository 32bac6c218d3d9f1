"""One reload for all workers of a server.

A request reaches one worker. The one that was told to reload, and could, writes a new token into a
file that all of them watch; the others then load what lies on the disk too.
"""

import asyncio
import logging
import os
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

logger = logging.getLogger("quincunx.models")

NAME = "quincunx-reloaded"
INTERVAL_S = 0.5


class Reloads:
    """The file, in a folder that the workers of one server share."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._seen = self._read()

    def announce(self) -> None:
        """Tell the other workers that this one has loaded what lies on the disk."""
        token = uuid.uuid4().hex
        fresh = self._path.with_name(f"{NAME}-{token}")
        fresh.write_text(token)
        self._seen = token
        os.replace(fresh, self._path)  # nobody reads half of it

    async def follow(self, load: Callable[[], Awaitable[object]]) -> None:
        """Call `load` whenever another worker has announced, for as long as this worker lives."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            token = self._read()
            if token in ("", self._seen):
                continue
            self._seen = token
            try:
                await load()
            except Exception as error:  # what was served goes on, and so does the watch
                logger.error("a reload of another worker failed here", exc_info=error)

    def _read(self) -> str:
        try:
            return self._path.read_text()
        except OSError:
            return ""
