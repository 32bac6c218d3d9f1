"""How many pixels are decoded at once: threads that decode large images share the memory."""

import os
import threading
from collections import deque

from service.inference.runtime.memory import usable_bytes

BYTES_PER_PIXEL = 20
"""Bytes for each pixel of an image while it is decoded and resized, with a reserve for the
models."""


def usual_pixels() -> int:
    """The number of pixels, of all images together, for which this process has memory."""
    return max(1, usable_bytes() // BYTES_PER_PIXEL)


class PixelBudget:
    """Lets images begin, in the order of arrival, if there is room for their pixels.

    If an image is larger than the whole budget, it begins when no other image is decoded.
    """

    def __init__(self, limit_pixels: int) -> None:
        self.limit_pixels = limit_pixels
        self.clear()

    def clear(self) -> None:
        """Forget the claims of other threads, which a forked process does not have."""
        self._taken = 0
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()
        self._own = threading.local()

    def turn(self) -> "_Turn":
        """A `with` block. At the end of the outermost one, this thread's claims are given back."""
        return _Turn(self)

    def begin(self) -> bool:
        """Begin a turn of this thread; whether it is the outermost one."""
        if self._claimed is not None:
            return False
        self._claimed = 0
        return True

    def end(self) -> None:
        """End the outermost turn of this thread: give its claims back."""
        with self._changed:
            self._taken -= self._claimed or 0
            self._claimed = None
            self._changed.notify_all()

    def claim(self, pixels: int, instead_of: int = 0) -> None:
        """Wait until there is room for an image, within a turn.

        `instead_of` is an earlier claim of this thread, which is given back first. If the thread
        still has another claim, it does not wait, because others may wait for that claim.
        """
        with self._changed:
            kept = (self._claimed or 0) - instead_of
            self._taken -= instead_of
            if instead_of:
                self._changed.notify_all()
            if not kept and (self._waiting or not self._has_room(pixels)):
                self._wait_for_room(pixels)
            self._taken += pixels
            self._claimed = kept + pixels

    def _has_room(self, pixels: int) -> bool:
        return self._taken == 0 or self._taken + pixels <= self.limit_pixels

    def _wait_for_room(self, pixels: int) -> None:
        me = object()
        self._waiting.append(me)
        try:
            self._changed.wait_for(lambda: self._waiting[0] is me and self._has_room(pixels))
        finally:
            self._waiting.remove(me)
            self._changed.notify_all()  # the next one in the queue may have room too

    @property
    def _claimed(self) -> int | None:
        """Pixels that this thread has claimed in its turn; None: it has no turn."""
        return getattr(self._own, "pixels", None)

    @_claimed.setter
    def _claimed(self, pixels: int | None) -> None:
        self._own.pixels = pixels


class _Turn:
    """A class, not `@contextmanager`, which takes longer: every image has two turns."""

    def __init__(self, budget: PixelBudget) -> None:
        self._budget = budget
        self._outermost = False

    def __enter__(self) -> None:
        self._outermost = self._budget.begin()

    def __exit__(self, *_: object) -> None:
        if self._outermost:
            self._budget.end()


DECODING = PixelBudget(usual_pixels())
"""The budget of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=DECODING.clear)
