"""A session on a GPU whose worker ends if the GPU fails for good.

After some errors of CUDA, such as an illegal address or a GPU that has left the bus, every later
call of the process fails, although the process runs on. A new process may work again, and the
supervisor starts one.
"""

import logging
import os
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from service.errors import InferenceFailed
from service.inference.image.views import Pixels
from service.inference.runtime.session import Output, Session
from service.inference.runtime.shared_crops import Features

logger = logging.getLogger("quincunx.service")


def end_this_worker() -> None:
    """End this process as SIGTERM does: requests that wait get their answers or errors."""
    os.kill(os.getpid(), signal.SIGTERM)


class WatchedSession:
    """Runs batches as its session does."""

    def __init__(self, session: Session, end: Callable[[], None] = end_this_worker) -> None:
        """`end` is called once, after a failure, if the session does not work any more."""
        self._session = session
        self._end = end
        self._lock = threading.Lock()
        self._ended = False

    def run(
        self, views: Pixels | Features, output: Output, windows: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """As `Session.run`."""
        with self._watching():
            return self._session.run(views, output, windows)

    def run_with_embedding(
        self, views: Pixels | Features, output: Output, windows: NDArray[np.float32] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """As `Session.run_with_embedding`."""
        with self._watching():
            return self._session.run_with_embedding(views, output, windows)

    @contextmanager
    def _watching(self) -> Generator[None]:
        try:
            yield
        except InferenceFailed as error:
            with self._lock:  # several batches fail at once
                if not self._ended and not self._session.works():
                    self._ended = True
                    logger.critical("the GPU fails for good, so this worker ends: %s", error)
                    self._end()
            raise
