"""While a CUDA graph is recorded, no other thread of the process may use the GPU.

CUDA fails a recording during which another thread copies or allocates memory.
"""

from collections.abc import Generator
from contextlib import contextmanager
from threading import Condition


class RecordingGate:
    """Any number of runs at once, or one recording alone."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._runs = 0
        self._recordings = 0
        """Recordings that run or wait. New runs wait for them."""
        self._recording = False

    @contextmanager
    def running(self) -> Generator[None]:
        """A run that records nothing."""
        with self._changed:
            self._changed.wait_for(lambda: not self._recordings)
            self._runs += 1
        try:
            yield
        finally:
            with self._changed:
                self._runs -= 1
                self._changed.notify_all()

    @contextmanager
    def recording(self) -> Generator[None]:
        """A run that records a graph."""
        with self._changed:
            self._recordings += 1
            self._changed.wait_for(lambda: not self._runs and not self._recording)
            self._recording = True
        try:
            yield
        finally:
            with self._changed:
                self._recording = False
                self._recordings -= 1
                self._changed.notify_all()


GATE = RecordingGate()
"""The gate of this process: all its sessions share one GPU."""
