"""Take one batch of images through the code that serves, and say where the time went."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from service.bench.results import Phase
from service.inference import tta
from service.inference.batch import Job, run_all
from service.inference.predictor import Predictor
from service.inference.session import Output, Session
from service.inference.tta import Answer, Options, Results, View


@dataclass
class Clock:
    """Seconds spent in each part so far."""

    resize: float = 0.0
    inference: float = 0.0
    aggregation: float = 0.0


@dataclass(frozen=True)
class Timed:
    """One batch: ms of each phase, which add up to the whole."""

    phases_ms: dict[Phase, float]
    passes: int
    """Trips through the network, over all images of the batch."""


@dataclass(frozen=True)
class _TimedSession:
    session: Session
    clock: Clock

    def run(self, views: NDArray[np.uint8], output: Output) -> NDArray[np.float32]:
        start = perf_counter()
        result = self.session.run(views, output)
        self.clock.inference += perf_counter() - start
        return result


def run_batch(files: Sequence[bytes], options: Options, predictor: Predictor) -> Timed:
    """Decode `files`, answer them as one batch of images, and time it.

    `views` is what no other phase is: cutting the views and copying them into batches.
    """
    clock = Clock()
    start = perf_counter()
    images = [predictor.decode(data) for data in files]
    decoded = perf_counter()
    with _resize_timed(clock):
        jobs = (_timed(predictor.start(image, options), clock) for image in images)
        answers = run_all(jobs, _TimedSession(predictor.session, clock))
    total = perf_counter() - start
    decode = decoded - start
    views = total - decode - clock.resize - clock.inference - clock.aggregation
    return Timed(
        {
            "decode": decode * 1e3,
            "resize": clock.resize * 1e3,
            "views": views * 1e3,
            "inference": clock.inference * 1e3,
            "aggregation": clock.aggregation * 1e3,
        },
        sum(answer.passes for answer in answers),
    )


def _timed(job: Job, clock: Clock) -> Generator[list[View], Results, Answer]:
    """The same job; what happens after results were sent is aggregation, less any resizing."""
    views = next(job)
    while True:
        results = yield views
        resized = clock.resize
        start = perf_counter()
        try:
            views = job.send(results)
        except StopIteration as stop:
            return stop.value
        finally:
            clock.aggregation += perf_counter() - start - (clock.resize - resized)


@contextmanager
def _resize_timed(clock: Clock) -> Generator[None]:
    """Time the one call that a mode makes to Pillow, where it makes it."""
    plain = tta.resize

    def resize(image: tta.Pixels, size: tta.Size) -> tta.Pixels:
        start = perf_counter()
        resized = plain(image, size)
        clock.resize += perf_counter() - start
        return resized

    tta.resize = resize
    try:
        yield
    finally:
        tta.resize = plain
