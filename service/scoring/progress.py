"""The progress of a run, on stderr: a bar on a terminal, log lines elsewhere."""

import logging
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from service.scoring.sources import ImageSource

LOG_SECONDS = 10.0
log = logging.getLogger("quincunx.score")


class Total:
    """Counts the images of the sources in another thread during the run; None until it is known."""

    def __init__(self, sources: Sequence[ImageSource]) -> None:
        self.images: int | None = None
        self._sources = sources
        threading.Thread(target=self._count, name="score-count", daemon=True).start()

    def _count(self) -> None:
        total = 0
        for source in self._sources:
            try:
                counted = source.count()
            except Exception:  # the run itself will report the error
                return
            if counted is None:
                return
            total += counted
        self.images = total


class Log(AbstractContextManager["Log"]):
    """A line every ten seconds."""

    def __init__(self, sources: Sequence[ImageSource]) -> None:
        self._total = Total(sources)
        self._start = self._said = time.monotonic()
        self._before = self._images = self._failed = 0

    def began(self, done: int) -> None:
        """Note at which image the run continues."""
        self._before = done
        if done:
            log.info("%d images were finished before; going on", done)

    def moved(self, images: int, failed: int) -> None:
        """Log the progress if the last line is old enough."""
        self._images += images
        self._failed += failed
        now = time.monotonic()
        if now - self._said >= LOG_SECONDS:
            self._said = now
            log.info("%s", self._line(now - self._start))

    def __exit__(self, *_: object) -> None:
        return None

    def _line(self, seconds: float) -> str:
        done, rate = self._before + self._images, self._images / seconds
        text = f"{done} images, {rate:.1f}/s, {self._failed} failed"
        if self._total.images is not None and rate > 0:
            left = max(0, self._total.images - done) / rate
            text += f", {int(left // 60)}:{int(left % 60):02d} left of {self._total.images}"
        return text


class Bar(AbstractContextManager["Bar"]):
    """A bar with images per second and the time left."""

    def __init__(self, sources: Sequence[ImageSource]) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._total = Total(sources)
        self._failed = 0
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[failed]}", style="red"),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task("score", total=None, rate="", failed="")
        self._start = time.monotonic()
        self._images = 0

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def began(self, done: int) -> None:
        """Start the bar at the image where the run continues."""
        self._progress.update(self._task, completed=done)
        self._start = time.monotonic()

    def moved(self, images: int, failed: int) -> None:
        """Advance the bar."""
        self._images += images
        self._failed += failed
        rate = self._images / max(time.monotonic() - self._start, 1e-9)
        fields: dict[str, Any] = {"rate": f"{rate:.1f} images/s"}
        if self._failed:
            fields["failed"] = f"{self._failed} failed"
        self._progress.update(self._task, advance=images, total=self._total.images, **fields)


def progress(sources: Sequence[ImageSource]) -> Bar | Log:
    """A bar if stderr is a terminal, else log lines."""
    if sys.stderr.isatty():
        return Bar(sources)
    if not log.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s", "%H:%M:%S"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False
    return Log(sources)
