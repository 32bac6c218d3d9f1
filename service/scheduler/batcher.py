"""The batcher: views of many requests share batches, and an empty queue never delays a request.

It counts views, not images. When a slot of the session falls free, the next batch is formed from
the views that wait: one view at low load, full batches at high load. There is no timer. On a CPU
there are several slots, and the same threads decode, so a batch is one slot's share of all that
waits, decoded or not. A smaller batch would waste what batching saves. A larger one would keep
images waiting for a slot that another batch is about to free. Where images come one at a time, each
runs on every core.

The batcher drives the generators of `service.inference.tta.steps`: it queues the views that they
yield and sends them the results. Worker threads do all of this. The event loop hears of an image
once, when it is answered:

    loop: admit (views, deadline) -> worker: begin, decode and cut -> queue -> batch -> next step
    -> queue again, or the answer -> loop
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np

from service.errors import DeadlineExceeded, InferenceFailed
from service.inference.engine import Job, Runs
from service.inference.image.budget import DECODING
from service.inference.tta.steps import Answer, Results, View
from service.scheduler.admission import Admission, Nobody, Observer
from service.scheduler.queue import Image, Queues, Result, Slot, Times
from service.scheduler.workers import Take, Urgency, Work, Workers

T = TypeVar("T")

QUIET_IMAGES = 2
"""An image has every place if it meets no other and so many before it met none: where others come
meanwhile, what it gains is what they lose, and two cores for one pass are less than two passes."""


class _Batch(NamedTuple):
    """Views that run together, what runs them, and how many places that takes."""

    slots: list[Slot]
    views: list[View]
    session: Runs
    places: int


class Batcher:
    """One session, and the views that wait for it. Use from one event loop."""

    def __init__(
        self,
        session: Runs,
        workers: Workers,
        *,
        max_batch_views: int,
        max_queue_views: int,
        side_by_side: int = 1,
        lone: Runs | None = None,
        runner: Workers | None = None,
        observer: Observer | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`runner` runs the batches: by default the workers, a thread of its own for a GPU.

        `lone` is the same graph with the threads of all places, for an image that is alone.
        """
        self._session = session
        self._lone = lone
        self._workers = workers
        self._runner = runner or workers
        self._shares_threads = runner is None
        self._max_batch_views = max_batch_views
        self._observer: Observer = observer or Nobody()
        self._clock = clock
        self.admission = Admission(max_queue_views, self._observer, clock)
        self._lock = threading.Lock()
        """Around all that follows."""
        self._begins: deque[Image] = deque()
        self._queues = Queues()
        self._finishes: deque[Image] = deque()
        self._places = side_by_side
        """Batches that may run at once."""
        self._free_places = side_by_side
        """Batches that could start now."""
        self._lone_runs = False
        """Whether an image that is alone has every core; what comes waits until it is through."""
        self._let_go_first = 0
        """Images that began while views waited, since the last batch."""
        self._inside = 0
        """Images on their way."""
        self._newest = -1
        self._quiet_from = 0
        """Number of the first image that may have every place: up to it images met others."""
        self._sources: tuple[tuple[Workers, Urgency, Take], ...] = (
            (self._workers, Urgency.FINISH, self._take_finish),
            (self._runner, Urgency.BATCH, self._take_batch),
            (self._workers, Urgency.BEGIN, self._take_begin),
        )
        for pool, urgency, take in self._sources:
            pool.add(urgency, take)

    async def answer(
        self, begin: Callable[[], Job], *, views: int, timeout_s: float
    ) -> tuple[Answer, Times]:
        """Admit one image and drive it to its answer; see `Admission.admit` and `drive`."""
        with self.admission.admit(views, timeout_s):
            return await self.drive(begin, timeout_s)

    async def drive(self, begin: Callable[[], Job], timeout_s: float) -> tuple[Answer, Times]:
        """Drive an image that was admitted to its answer. `begin` decodes and starts its generator.

        Raises:
            DeadlineExceeded: not answered within `timeout_s`.
            QuincunxError: whatever `begin` or a step of the generator raised for this image.
        """
        done = asyncio.get_running_loop().create_future()
        with self._lock:
            self._newest += 1
            self._inside += 1
            if self._inside > 1:
                self._quiet_from = self._newest + 1 + QUIET_IMAGES
            image = Image(self._newest, begin, done)
            self._begins.append(image)
        self._workers.wake()
        try:
            async with asyncio.timeout(timeout_s):
                answer = await done
        except TimeoutError:
            raise DeadlineExceeded(f"no answer within {timeout_s * 1000:.0f} ms") from None
        finally:
            self._leave(image)
            with self._lock:
                self._inside -= 1
        self.admission.answered(image.first)
        return answer, image.times

    @property
    def quiet(self) -> bool:
        """Whether one image is all there is, and images have come alone for a while."""
        return self._inside == 1 and self._newest >= self._quiet_from

    async def drain(self) -> None:
        """Refuse what comes, finish what was admitted, and let the session go."""
        await self.admission.drain()
        for pool, urgency, take in self._sources:
            pool.remove(urgency, take)
        # They refer back to this object: without them it is freed at once, and the session with it.
        self._sources = ()
        if not self._shares_threads:
            self._runner.shutdown()

    def _take_begin(self) -> Work | None:
        with self._lock:
            if self._lone_runs or not self._waits_to_begin():
                return None
            self._let_go_first += bool(self._queues)
            return partial(self._begin, self._begins.popleft())

    def _take_batch(self) -> Work | None:
        """A batch of views of one key: the key of the image that came first.

        Views are shared among the threads that are free, but an image that is alone takes every
        place at once; where this thread is the only one, it leaves the places that are busy now
        whole images, not parts of one.
        """
        with self._lock:
            waiting = len(self._queues)
            if not self._free_places or self._lets_others_go_first(waiting):
                return None
            lone = self._lone if self._one_is_alone() else None
            helpers = 0 if lone else min(self._free_places - 1, self._runner.idle)
            share = -(-waiting // (1 + helpers)) if helpers else self._share(waiting)
            slots = self._queues.pop(share, self._max_batch_views, whole_images=not helpers)
            if not slots:
                return None
            views = [slot.image.views[slot.which] for slot in slots]
            batch = _Batch(slots, views, lone or self._session, self._places if lone else 1)
            self._free_places -= batch.places
            self._lone_runs = lone is not None
            self._let_go_first = 0
            return partial(self._run, batch)

    def _take_finish(self) -> Work | None:
        with self._lock:
            return partial(self._finish, self._finishes.popleft()) if self._finishes else None

    def _waits_to_begin(self) -> bool:
        while self._begins and self._begins[0].gone:
            self._begins.popleft()
        return bool(self._begins)

    def _lets_others_go_first(self, views: int) -> bool:
        """Whether the threads had better decode, since less waits than one place's share.

        The longer the queue, the fuller the batches: where all wait anyhow, throughput is what
        shortens the wait. No batch waits for more images than it can take.
        """
        return (
            self._shares_threads
            and self._waits_to_begin()
            and views < min(self._share(views), self._max_batch_views)
            and self._let_go_first < self._max_batch_views
        )

    def _one_is_alone(self) -> bool:
        """Whether the views of the only image wait for one batch, and every place is free."""
        return (
            self.quiet
            and self._free_places == self._places
            and self._runner.idle >= self._places - 1
            and self._queues.of_one_image()
        )

    def _share(self, views: int) -> int:
        """One place's share of the views that wait and the images not yet decoded, rounded up."""
        images = len(self._begins) if self._shares_threads else 0
        return -(-(views + images) // self._places)

    def _begin(self, image: Image) -> None:
        started = self._clock()
        outcome = _attempt(partial(_begun, image.begin))
        image.times.begin = self._clock() - started
        if isinstance(outcome, Exception):
            self._end(image, outcome)
            return
        image.job, views = outcome
        image.first = len(views)
        self._queue(image, views, held=0)

    def _queue(self, image: Image, views: Sequence[View], held: int) -> None:
        """Let the views of one step wait for their batches."""
        with self._lock:
            if image.gone:
                return
            self._hold(image, held)
            image.views, image.results = views, {}
            image.queued_at, image.started_at = self._clock(), 0.0
            self._queues.push(image)
            batches = 1 if self._lone and self._one_is_alone() else len(views)
        # Of threads that share all work, this one will look for some itself.
        self._runner.wake(batches - self._shares_threads)

    def _run(self, batch: _Batch) -> None:
        """Run a batch, and give each image its results."""
        slots = batch.slots
        started = self._clock()
        results = self._results(slots, batch.views, batch.session)
        ended = self._clock()
        self._observer.batch(len(slots), ended - started)
        images = dict.fromkeys(slot.image for slot in slots)
        with self._lock:
            self._free_places += batch.places
            more = bool(self._queues) + self._lone_runs * len(self._begins)
            self._lone_runs = False
            for slot, result in zip(slots, results, strict=True):
                slot.image.results[slot.which] = result
            for image in images:
                image.started_at = image.started_at or started
                image.times.batches.append(len(slots))
            complete = [i for i in images if not i.gone and len(i.results) == len(i.views)]
            for image in complete:
                image.times.queue += image.started_at - image.queued_at
                image.times.inference += ended - image.started_at
            self._finishes += complete
        for image in complete:
            self._observer.waited(image.started_at - image.queued_at)
        self._workers.wake(len(complete) + (more - 1 if self._shares_threads else 0))

    def _results(self, slots: list[Slot], views: list[View], session: Runs) -> list[Result]:
        """A result for each view. Where a batch fails, each image is tried alone."""
        try:
            return list(session.run(np.stack([v.pixels for v in views]), views[0].output))
        except Exception as error:
            if len({slot.image for slot in slots}) == 1:
                return [error] * len(slots)
        results: list[Result] = []
        for image in dict.fromkeys(slot.image for slot in slots):
            own = [(s, v) for s, v in zip(slots, views, strict=True) if s.image is image]
            results += self._results([s for s, _ in own], [v for _, v in own], session)
        return results

    def _finish(self, image: Image) -> None:
        job = image.job
        if job is None:
            return
        started = self._clock()
        outcome = _attempt(partial(_advanced, job, image.results))
        image.times.finish += self._clock() - started
        if isinstance(outcome, list):
            self._queue(image, outcome, held=len(outcome))
        else:
            self._end(image, outcome)

    def _end(self, image: Image, outcome: Answer | Exception) -> None:
        self._leave(image)
        with suppress(RuntimeError):  # where the loop is closed, nobody waits
            image.done.get_loop().call_soon_threadsafe(_settle, image.done, outcome)

    def _leave(self, image: Image) -> None:
        """An image that is gone keeps neither its place nor its pixels."""
        if not image.gone:
            with self._lock:
                image.gone = True
                image.views, image.job = (), None
                self._hold(image, 0)

    def _hold(self, image: Image, views: int) -> None:
        self.admission.count(views - image.held)
        image.held = views


def _attempt(work: Callable[[], T]) -> T | Exception:
    """The error instead of raising it: it belongs to whoever waits.

    In a frame of its own: the error knows the frames it passed, and they must not know the image,
    which knows the error. Such a circle would hold the pixels.
    """
    try:
        return work()
    except Exception as error:
        return error


def _begun(begin: Callable[[], Job]) -> tuple[Job, list[View]]:
    with DECODING.turn():  # until the views are cut, and the image is let go
        job = begin()
        return job, next(job)


def _advanced(job: Job, results: dict[int, Result]) -> list[View] | Answer:
    in_order: Results = []
    for index in range(len(results)):
        result = results[index]
        if isinstance(result, Exception):
            raise _as_failure(result)
        in_order.append(result)
    try:
        return job.send(in_order)
    except StopIteration as stop:
        return stop.value


def _as_failure(error: Exception) -> InferenceFailed:
    return error if isinstance(error, InferenceFailed) else InferenceFailed(str(error))


def _settle(done: "asyncio.Future[Answer]", outcome: Answer | Exception) -> None:
    if done.done():
        return
    if isinstance(outcome, Exception):
        done.set_exception(outcome)
    else:
        done.set_result(outcome)
