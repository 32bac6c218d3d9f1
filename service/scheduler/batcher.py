"""The batcher: views of many requests share batches, and an empty queue never delays a request.

It counts views, not images. When a slot becomes free, the next batch is formed from the views that
wait: one image's views at low load, larger batches at high load. There is no timer. What runs next
is decided in `service.scheduler.policy`; this module has the locks, the threads and the futures.

The batcher drives the generators of `service.inference.tta.steps`: it queues the views that they
yield and sends them the results. Worker threads do all of this. The event loop hears of an image
once, when it is answered:

    loop: admit (views, deadline) -> worker: prepare, which decodes and cuts -> queue -> batch
    -> next step -> queue again, or the answer -> loop
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple, TypeVar

from service.errors import DeadlineExceeded, InferenceFailed
from service.inference.engine import Done, Steps, step
from service.inference.image.budget import DECODING
from service.inference.tta.passes import InferenceBackend, View, run_batch
from service.inference.tta.passes import Result as ViewResult
from service.inference.tta.steps import Classification
from service.scheduler import policy
from service.scheduler.admission import Admission, NullObserver, Observer
from service.scheduler.queue import Part, PendingImage, Queues, Result, StageTimings
from service.scheduler.workers import Take, Urgency, Work, Workers

T = TypeVar("T")


class _Batch(NamedTuple):
    """Views that run together, the session that runs them, and the slots that they occupy."""

    parts: list[Part]
    views: list[View]
    session: InferenceBackend
    slots: int


class Batcher:
    """One session, and the views that wait for it. Use from one event loop."""

    def __init__(
        self,
        session: InferenceBackend,
        workers: Workers,
        *,
        max_batch_views: int,
        max_queue_views: int,
        enough_views: int | None = None,
        max_concurrent_batches: int = 1,
        latency_session: InferenceBackend | None = None,
        runner: Workers | None = None,
        observer: Observer | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`runner` runs the batches: the workers by default, a thread of its own for a GPU.

        Batches grow to `enough_views`, by default to `max_batch_views`; see `policy.Limits`.
        `latency_session` is the same graph with more threads, for single-request mode.
        """
        self._session = session
        self._latency_session = latency_session
        self._workers = workers
        self._runner = runner or workers
        self._limits = policy.Limits(
            max_concurrent_batches,
            max_batch_views,
            min(enough_views or max_batch_views, max_batch_views),
            workers_run_batches=runner is None,
            has_latency_session=latency_session is not None,
        )
        self._observer: Observer = observer or NullObserver()
        self._clock = clock
        self.admission = Admission(max_queue_views, self._observer, clock)
        self._lock = threading.Lock()
        """Guards all fields below."""
        self._undecoded: deque[PendingImage] = deque()
        self._queues = Queues()
        self._complete: deque[PendingImage] = deque()
        """Images whose results are all there."""
        self._free_slots = max_concurrent_batches
        self._single_request_runs = False
        """Whether one image has every core. Images that arrive meanwhile wait until it is done."""
        self._decoded_since_batch = 0
        self._in_flight = 0
        self._newest = -1
        self._uncontended_from = 0
        """The number of the first image that may run in single-request mode."""
        self._sources: tuple[tuple[Workers, Urgency, Take], ...] = (
            (self._workers, Urgency.FINISH, self._take_finish),
            (self._runner, Urgency.BATCH, self._take_batch),
            (self._workers, Urgency.PREPARE, self._take_prepare),
        )
        for pool, urgency, take in self._sources:
            pool.add(urgency, take)

    async def submit(
        self, prepare: Callable[[], Steps], *, views: int, timeout_s: float
    ) -> tuple[Classification, StageTimings]:
        """Admit one image and run it; see `Admission.admit` and `run`."""
        with self.admission.admit(views, timeout_s):
            return await self.run(prepare, timeout_s)

    async def run(
        self, prepare: Callable[[], Steps], timeout_s: float
    ) -> tuple[Classification, StageTimings]:
        """Run an admitted image to its answer. `prepare` decodes it and starts its generator.

        Raises:
            DeadlineExceeded: not answered within `timeout_s`.
            QuincunxError: an error that `prepare` or a step of the generator raised.
        """
        done = asyncio.get_running_loop().create_future()
        with self._lock:
            self._newest += 1
            self._in_flight += 1
            if self._in_flight > 1:
                self._uncontended_from = self._newest + 1 + policy.COOLDOWN_IMAGES
            image = PendingImage(self._newest, prepare, done)
            self._undecoded.append(image)
        self._workers.wake()
        try:
            async with asyncio.timeout(timeout_s):
                answer = await done
        except TimeoutError:
            raise DeadlineExceeded(
                "the deadline passed before the answer; it was "
                f"{timeout_s * 1000:.3g} ms after the image was admitted "
                "(QUINCUNX_REQUEST_TIMEOUT_MS, or the request's own)"
            ) from None
        finally:
            self._leave(image)
            with self._lock:
                self._in_flight -= 1
        self.admission.answered(image.first_views)
        return answer, image.timings

    @property
    def uncontended(self) -> bool:
        """Whether only one image is in flight, and the last few overlapped with no other."""
        return self._in_flight == 1 and self._newest >= self._uncontended_from

    async def drain(self) -> None:
        """Refuse new images, finish the admitted ones, and release the session."""
        await self.admission.drain()
        for pool, urgency, take in self._sources:
            pool.remove(urgency, take)
        # The methods refer to this object. Without this cycle it is freed at once, and its session
        # with it.
        self._sources = ()
        if self._runner is not self._workers:
            self._runner.shutdown()

    def _take_prepare(self) -> Work | None:
        with self._lock:
            self._drop_gone()
            if self._single_request_runs or not self._undecoded:
                return None
            self._decoded_since_batch += bool(self._queues)
            return partial(self._prepare, self._undecoded.popleft())

    def _take_batch(self) -> Work | None:
        with self._lock:
            decision = policy.decide_batch(self._limits, self._state())
            if decision is None:
                return None
            parts = self._queues.pop(
                decision.share_views,
                self._limits.max_batch_views,
                whole_images=decision.whole_images,
            )
            if not parts:
                return None
            session = self._latency_session if decision.single_request else None
            views = [image.views[index] for image, indices in parts for index in indices]
            batch = _Batch(parts, views, session or self._session, decision.slots)
            self._free_slots -= batch.slots
            self._single_request_runs = decision.single_request
            self._decoded_since_batch = 0
            return partial(self._run, batch)

    def _take_finish(self) -> Work | None:
        with self._lock:
            return partial(self._finish, self._complete.popleft()) if self._complete else None

    def _state(self) -> policy.State:
        self._drop_gone()
        uncontended = self.uncontended
        return policy.State(
            waiting_views=len(self._queues),
            undecoded_images=len(self._undecoded),
            free_slots=self._free_slots,
            idle_threads=self._runner.idle,
            uncontended=uncontended,
            one_image_waits=uncontended and self._queues.of_one_image(),
            decoded_since_batch=self._decoded_since_batch,
        )

    def _drop_gone(self) -> None:
        while self._undecoded and self._undecoded[0].gone:
            self._undecoded.popleft()

    def _prepare(self, image: PendingImage) -> None:
        started = self._clock()
        outcome = _attempt(partial(_first_step, image.prepare))
        image.timings.prepare = self._clock() - started
        if isinstance(outcome, Exception):
            self._end(image, outcome)
            return
        image.steps, views = outcome
        image.first_views = len(views)
        self._queue(image, views, held=0)

    def _queue(self, image: PendingImage, views: Sequence[View], held: int) -> None:
        """Queue the views of one step."""
        with self._lock:
            if image.gone:
                return
            self._hold(image, held)
            image.views, image.results = views, {}
            image.queued_at, image.started_at = self._clock(), 0.0
            self._queues.push(image)
            threads = policy.threads_to_wake(self._limits, self._state(), len(views))
        self._runner.wake(threads)

    def _run(self, batch: _Batch) -> None:
        """Run a batch, and give each image its results."""
        size = len(batch.views)
        started = self._clock()
        results = iter(self._results(batch.parts, batch.views, batch.session))
        ended = self._clock()
        self._observer.batch(size, ended - started)
        complete: list[PendingImage] = []
        with self._lock:
            self._free_slots += batch.slots
            more = bool(self._queues) + self._single_request_runs * len(self._undecoded)
            self._single_request_runs = False
            for image, indices in batch.parts:
                image.results.update(zip(indices, results, strict=False))
                image.started_at = image.started_at or started
                image.timings.batches.append(size)
                if not image.gone and len(image.results) == len(image.views):
                    image.timings.queue += image.started_at - image.queued_at
                    image.timings.inference += ended - image.started_at
                    complete.append(image)
            self._complete += complete
        for image in complete:
            self._observer.waited(image.started_at - image.queued_at)
        self._workers.wake(len(complete) + (more - 1 if self._limits.workers_run_batches else 0))

    def _results(
        self, parts: list[Part], views: list[View], session: InferenceBackend
    ) -> list[Result]:
        """A result for each view. If a batch fails, each of its images runs on its own."""
        try:
            return list(run_batch(views, session))
        except Exception as error:
            if len(parts) == 1:
                return [error] * len(views)
        results: list[Result] = []
        for part in parts:
            own = views[len(results) : len(results) + len(part.indices)]
            results += self._results([part], own, session)
        return results

    def _finish(self, image: PendingImage) -> None:
        steps = image.steps
        if steps is None:
            return
        started = self._clock()
        outcome = _attempt(partial(_next_step, steps, image.results))
        image.timings.finish += self._clock() - started
        if isinstance(outcome, Exception):
            self._end(image, outcome)
        elif isinstance(outcome, Done):
            self._end(image, outcome.answer)
        else:
            self._queue(image, outcome, held=len(outcome))

    def _end(self, image: PendingImage, outcome: Classification | Exception) -> None:
        self._leave(image)
        with suppress(RuntimeError):  # the loop is closed: no client waits any more
            image.done.get_loop().call_soon_threadsafe(_settle, image.done, outcome)

    def _leave(self, image: PendingImage) -> None:
        """Free the memory of an image, and its places in the queue's limit."""
        if not image.gone:
            with self._lock:
                image.gone = True
                image.views, image.steps = (), None
                self._hold(image, 0)

    def _hold(self, image: PendingImage, views: int) -> None:
        self.admission.count(views - image.held_views)
        image.held_views = views


def _attempt(work: Callable[[], T]) -> T | Exception:
    """Return the error instead of raising it, because another thread waits for it.

    This needs a frame of its own. An error refers to the frames that it passed. If one of them
    referred to the image, which refers to the error, this cycle would keep the pixels in memory.
    """
    try:
        return work()
    except Exception as error:
        return error


def _first_step(prepare: Callable[[], Steps]) -> tuple[Steps, list[View]]:
    with DECODING.turn():  # until the views are cut and the image is released
        steps = prepare()
        return steps, next(steps)


def _next_step(steps: Steps, results: dict[int, Result]) -> list[View] | Done[Classification]:
    in_order: list[ViewResult] = []
    for index in range(len(results)):
        result = results[index]
        if isinstance(result, Exception):
            raise _as_failure(result)
        in_order.append(result)
    return step(steps, in_order)


def _as_failure(error: Exception) -> InferenceFailed:
    return error if isinstance(error, InferenceFailed) else InferenceFailed(str(error))


def _settle(done: "asyncio.Future[Classification]", outcome: Classification | Exception) -> None:
    if done.done():
        return
    if isinstance(outcome, Exception):
        done.set_exception(outcome)
    else:
        done.set_result(outcome)
