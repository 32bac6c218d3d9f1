"""Read the file of API keys again when it changes: a mounted secret is replaced at run time."""

import logging
import os
import time
from collections.abc import Callable

from service.errors import UsageError
from service.settings import Settings

logger = logging.getLogger("quincunx.keys")

INTERVAL_S = 1.0


class KeyFile:
    """The keys of the settings, read again after their file has changed.

    A file that cannot be read, or that holds no valid key, changes nothing and is logged once.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._looked_s = clock()
        self._state = self._look()

    def changed(self) -> tuple[str, ...] | None:
        """The new keys if the file has changed since this last returned keys, else None.

        It looks at the file once a second at most.
        """
        if self._settings.api_keys_file is None or self._clock() < self._looked_s + INTERVAL_S:
            return None
        self._looked_s = self._clock()
        state = self._look()
        if state == self._state:
            return None
        self._state = state
        try:
            keys = self._settings.keys()
        except UsageError as error:
            logger.error("the keys stay as they were: %s", error)
            return None
        logger.info("the keys were read again: %d", len(keys))
        return keys

    def _look(self) -> object:
        """A value that changes when the file, or the target of a link in its path, is replaced."""
        path = self._settings.api_keys_file
        try:
            found = os.stat(path) if path is not None else None
        except OSError as error:
            return error.errno
        return found and (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
