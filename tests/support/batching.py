"""A batcher under test: a session that can be held, and images on their way through it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np
from numpy.typing import NDArray

from service.errors import InferenceFailed
from service.inference.engine import Done, InferenceBackend, Steps, run_all, step
from service.inference.predictor import Predictor
from service.inference.runtime.session import Output
from service.inference.tta.steps import Classification, Options
from service.scheduler.batcher import Batcher
from service.scheduler.queue import StageTimings
from service.scheduler.workers import Workers
from tests.support.images import drawn

LONG_S = 60.0

Pixels = NDArray[np.uint8]


class Recorder:
    """A session that notes every batch, and can be held or made to fail on some views."""

    def __init__(self, predictor: Predictor) -> None:
        self.session: InferenceBackend = predictor.session
        self.batches: list[int] = []
        self.shades: list[int] = []
        """The first value of each view."""
        self.gate = threading.Event()
        self.gate.set()
        self.poison = 256
        """A view with a first pixel of this value fails its batch."""
        self.latency_session: Recorder | None = None
        """The session of single-request mode."""

    def run(
        self, views: Pixels, output: Output, windows: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        self._note(views)
        return self.session.run(views, output, windows)

    def run_with_embedding(
        self, views: Pixels, output: Output, windows: NDArray[np.float32] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self._note(views)
        return self.session.run_with_embedding(views, output, windows)

    def _note(self, views: Pixels) -> None:
        self.batches.append(len(views))
        self.shades += views[:, 0, 0, 0].tolist()
        assert self.gate.wait(LONG_S)
        if (views[:, 0, 0, 0] == self.poison).any():
            raise InferenceFailed("poison")


@asynccontextmanager
async def batching(
    predictor: Predictor,
    max_batch_views: int = 8,
    max_queue_views: int = 10_000,
    enough_views: int | None = None,
    max_concurrent_batches: int = 1,
    threads: int = 4,
    own_runner: bool = False,
    single_request_mode: bool = False,
) -> AsyncIterator[tuple[Batcher, Recorder]]:
    """A batcher and its session; with `own_runner` as on a GPU. At the end nothing may be left."""
    recorder = Recorder(predictor)
    recorder.latency_session = Recorder(predictor) if single_request_mode else None
    workers = Workers(threads)
    runner = Workers(1, nicer=0, name="gpu") if own_runner else None
    try:
        batcher = Batcher(
            recorder, workers, max_batch_views=max_batch_views, max_queue_views=max_queue_views,
            max_concurrent_batches=max_concurrent_batches, enough_views=enough_views, runner=runner,
            latency_session=recorder.latency_session,
        )  # fmt: skip
        yield batcher, recorder
        for session in filter(None, (recorder, recorder.latency_session)):
            session.gate.set()
        await batcher.drain()
        assert batcher.admission.views == 0
    finally:
        workers.shutdown()


def asked(
    batcher: Batcher, work: Callable[[], Steps], views: int = 5
) -> "asyncio.Task[tuple[Classification, StageTimings]]":
    """One image, on its way."""
    return asyncio.create_task(batcher.submit(work, views=views, timeout_s=LONG_S))


def alone(predictor: Predictor, image: Pixels, mode: str) -> Classification:
    (answer,) = run_all([predictor.start(image, Options(tta=mode))], predictor.session)  # type: ignore[arg-type]
    return answer


def begin(predictor: Predictor, image: Pixels, mode: str) -> Callable[[], Steps]:
    return lambda: predictor.start(image, Options(tta=mode))  # type: ignore[arg-type]


def plain(shade: int) -> Pixels:
    return np.full((64, 64, 3), shade, np.uint8)


def two_steps(predictor: Predictor, read: threading.Event | None = None) -> Callable[[], Steps]:
    """One view, then three, once `read` is set."""

    def steps() -> Steps:
        crop = predictor.start(plain(10), Options(tta="none"))
        views = next(crop)
        results = yield views
        assert read is None or read.wait(LONG_S)
        yield views * 3
        done = step(crop, results)
        assert isinstance(done, Done)  # the mode `none` has one step
        return done.answer

    return steps


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG_S):
        while not condition():
            await asyncio.sleep(0)


def assert_same(got: Classification, expected: Classification) -> None:
    np.testing.assert_allclose(got.probabilities, expected.probabilities, atol=1e-6)
    assert got.passes == expected.passes
    assert got.gate_open == expected.gate_open
    assert [v.box for v in got.views] == [v.box for v in expected.views]


IMAGES = [drawn(h, w, seed=i) for i, (h, w) in enumerate([(96, 96), (100, 131), (160, 97)])]


def queued(batcher: Batcher) -> int:
    return len(batcher._queues)


class Held:
    """An image whose decoding begins, and goes on when it is let go."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.begun = threading.Event()
        self.free = threading.Event()

    def __call__(self) -> Steps:
        self.begun.set()
        assert self.free.wait(LONG_S)
        return self._predictor.start(IMAGES[0], Options(tta="none"))
