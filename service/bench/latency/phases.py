"""Take one batch of images through the code that serves, and say where the time went."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from service.bench.report.results import Phase
from service.inference.engine import Steps, run_all
from service.inference.image.geometry import Box
from service.inference.image.views import Pixels
from service.inference.predictor import Predictor
from service.inference.runtime.session import Output, Session
from service.inference.runtime.shared_crops import Features
from service.inference.tta import steps as tta
from service.inference.tta.steps import Classification, Options, Results, View, check_options


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

    def run(self, views: Pixels | Features, output: Output) -> NDArray[np.float32]:
        with self._inference():
            return self.session.run(views, output)

    def crops(self, image: Pixels, boxes: Sequence[Box]) -> list[Features] | None:
        with self._inference():
            return self.session.crops(image, boxes)

    @contextmanager
    def _inference(self) -> Generator[None]:
        start = perf_counter()
        yield
        self.clock.inference += perf_counter() - start


def run_batch(files: Sequence[bytes], options: Options, predictor: Predictor) -> Timed:
    """Decode `files`, answer them as one batch of images, and time it.

    `views` is what no other phase is: cutting the views and copying them into batches.
    """
    clock = Clock()
    start = perf_counter()
    images = [predictor.open_image(data, options.boxes) for data in files]
    decoded = perf_counter()
    session = _TimedSession(predictor.session, clock)
    model = replace(predictor.model, crop_features=session)
    check_options(options, model)
    with _resize_timed(clock):
        jobs = (_timed(tta.classify_steps(image, options, model), clock) for image in images)
        answers = run_all(jobs, session)
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


def _timed(job: Steps, clock: Clock) -> Generator[list[View], Results, Classification]:
    """The same job; what happens after results were sent is aggregation, less views to come."""
    views = next(job)
    while True:
        results = yield views
        before = clock.resize + clock.inference
        start = perf_counter()
        try:
            views = job.send(results)
        except StopIteration as stop:
            return stop.value
        finally:
            since = clock.resize + clock.inference - before
            clock.aggregation += perf_counter() - start - since


@contextmanager
def _resize_timed(clock: Clock) -> Generator[None]:
    """Time the one call that a mode makes to Pillow, where it makes it."""
    plain = tta.resize

    def resize(image: tta.AnyImage, size: tta.Size) -> tta.Pixels:
        start = perf_counter()
        resized = plain(image, size)
        clock.resize += perf_counter() - start
        return resized

    tta.resize = resize
    try:
        yield
    finally:
        tta.resize = plain
