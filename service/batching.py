"""The micro-batcher: views of many requests share batches, and nobody waits without need.

It counts views, not requests. When a place in the session falls free, the next batch is formed from
whatever waits: one view at low load, full batches at high load, no timer in between. On a CPU there
are several places, and what waits is shared among those that are free; and since the same threads
decode, a batch of few views lets the images that wait go first: what they add is run with it.

It drives the generators of `service.inference.tta`: what they yield is queued, what comes back is
sent.

    admit (views, deadline) -> begin, by a worker: decode and cut -> queue -> batch -> next step, by
    a worker -> queue again, or the answer
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from service.admission import Admission, Nobody, Observer
from service.errors import DeadlineExceeded, InferenceFailed
from service.inference.batch import Job, Runs
from service.inference.session import Output
from service.inference.tta import Answer, Results, View
from service.workers import Urgency, Workers

Key = tuple[tuple[int, ...], Output]

FEW_VIEWS = 4
"""Fewer of them in a batch take more time each, on a CPU: every batch launches each node once."""


@dataclass
class Times:
    """Where the time of one image went, in seconds."""

    begin: float = 0.0
    """Decoding, and making the first views."""
    queue: float = 0.0
    inference: float = 0.0
    finish: float = 0.0
    """Reading the results: windows, aggregation, and the views of a second pass."""
    batches: list[int] = field(default_factory=list[int])
    """Views in each batch that this image had a part in."""


@dataclass(eq=False)
class _Step:
    """The views that one image waits for."""

    views: Sequence[View]
    results: list[NDArray[np.float32] | None]
    missing: int
    done: "asyncio.Future[None]"
    queued_at: float
    started_at: float = 0.0
    batches: list[int] = field(default_factory=list[int])


@dataclass(frozen=True, order=True)
class _Slot:
    """One view in the queue. The image that came first goes first, in its second pass too."""

    image: int
    """Counts up."""
    index: int
    step: _Step = field(compare=False)


@dataclass(frozen=True)
class _Ran:
    """What became of a batch: a result for each view, and when it ran."""

    results: list[NDArray[np.float32] | Exception]
    started: float
    seconds: float


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
        runner: Executor | None = None,
        observer: Observer | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`runner` runs the batches: by default the workers, a thread of its own for a GPU."""
        self._session = session
        self._begin = workers.at(Urgency.BEGIN)
        self._finish = workers.at(Urgency.FINISH)
        self._own_runner = runner
        self._runner = runner or workers.at(Urgency.BATCH)
        self._runner_of_few = runner or self._begin
        self._few: dict[Future[_Ran], list[_Slot]] = {}
        """Batches of few views that have not started yet."""
        self._max_batch_views = max_batch_views
        self._observer: Observer = observer or Nobody()
        self._clock = clock
        self.admission = Admission(max_queue_views, self._observer, clock)
        self._queues: dict[Key, list[_Slot]] = {}
        """Heaps, of views that can share a batch."""
        self._images = 0
        self._free = side_by_side
        """Batches that could start now."""

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
        try:
            async with asyncio.timeout(timeout_s):
                return await self._drive(begin)
        except TimeoutError:
            raise DeadlineExceeded(f"no answer within {timeout_s * 1000:.0f} ms") from None

    async def drain(self) -> None:
        """Refuse what comes, finish what was admitted, and let the session go."""
        await self.admission.drain()
        if self._own_runner is not None:
            self._own_runner.shutdown(wait=False)

    async def _drive(self, begin: Callable[[], Job]) -> tuple[Answer, Times]:
        loop = asyncio.get_running_loop()
        times = Times()
        started = self._clock()
        job, state = await loop.run_in_executor(self._begin, _begin, begin)
        times.begin = self._clock() - started
        self._images += 1
        image, first = self._images, len(state)
        held = 0  # beyond the places of the first step, which it was admitted with
        while not isinstance(state, Answer):
            with self.admission.hold(held):
                results = await self._run(image, state, times)
            started = self._clock()
            state = await loop.run_in_executor(self._finish, _advance, job, results)
            times.finish += self._clock() - started
            held = 0 if isinstance(state, Answer) else len(state)
        self.admission.answered(first)
        return state, times

    async def _run(self, image: int, views: Sequence[View], times: Times) -> Results:
        """Queue the views of one step, wait until all have run, and give their results."""
        loop = asyncio.get_running_loop()
        step = _Step(views, [None] * len(views), len(views), loop.create_future(), self._clock())
        for index in range(len(views)):
            self._queue(_Slot(image, index, step))
        self._start_batches()
        try:
            await step.done
        finally:
            step.views = ()  # a cancelled request keeps neither its place nor its pixels
        times.queue += step.started_at - step.queued_at
        times.inference += self._clock() - step.started_at
        times.batches += step.batches
        self._observer.waited(step.started_at - step.queued_at)
        return [result for result in step.results if result is not None]

    def _start_batches(self) -> None:
        """Form batches from what waits, as long as there is a place for one."""
        for future, slots in list(self._few.items()):
            if future.cancel():  # to be formed anew, with what has come since
                self._free += 1
                for slot in slots:
                    if not slot.step.done.done():
                        self._queue(slot)
        self._few.clear()
        while self._free and (slots := self._take()):
            self._free -= 1
            self._start_batch(slots)

    def _start_batch(self, slots: list[_Slot]) -> None:
        loop = asyncio.get_running_loop()
        views = [slot.step.views[slot.index] for slot in slots]
        few = len(slots) < FEW_VIEWS
        runner = self._runner_of_few if few else self._runner
        future = runner.submit(self._run_timed, slots, views)
        if few:
            self._few[future] = slots

        def finish(ran: Future[_Ran]) -> None:
            if not ran.cancelled():
                loop.call_soon_threadsafe(self._finish_batch, slots, ran.result())

        future.add_done_callback(finish)

    def _queue(self, slot: _Slot) -> None:
        view = slot.step.views[slot.index]
        heappush(self._queues.setdefault(view.key, []), slot)

    def _take(self) -> list[_Slot]:
        """Take a batch of views of one key: the key of the image that came first.

        Of all that waits it takes the share of one of the free places, up to a full batch.
        """
        waiting = sum(len(queue) for queue in self._queues.values())
        most = min(self._max_batch_views, -(-waiting // self._free))
        while self._queues:
            key = min(self._queues, key=lambda key: self._queues[key][0])
            queue = self._queues[key]
            slots: list[_Slot] = []
            while queue and len(slots) < most:
                slot = heappop(queue)
                if not slot.step.done.done():
                    slots.append(slot)
            if not queue:
                del self._queues[key]
            if slots:
                return slots
        return []

    def _run_timed(self, slots: list[_Slot], views: list[View]) -> "_Ran":
        started = self._clock()
        return _Ran(self._run_batch(slots, views), started, self._clock() - started)

    def _run_batch(
        self, slots: list[_Slot], views: list[View]
    ) -> list[NDArray[np.float32] | Exception]:
        """Run in the session's thread. Where a batch fails, each image is tried alone."""
        try:
            return list(self._session.run(np.stack([v.pixels for v in views]), views[0].output))
        except Exception as error:
            if len({slot.step for slot in slots}) == 1:
                return [error] * len(slots)
        results: list[NDArray[np.float32] | Exception] = []
        for step in dict.fromkeys(slot.step for slot in slots):
            own = [(s, v) for s, v in zip(slots, views, strict=True) if s.step is step]
            results += self._run_batch([s for s, _ in own], [v for _, v in own])
        return results

    def _finish_batch(self, slots: list[_Slot], ran: "_Ran") -> None:
        self._observer.batch(len(slots), ran.seconds)
        self._free += 1
        self._start_batches()  # first, so that the session rests as little as possible
        for step in dict.fromkeys(slot.step for slot in slots):
            step.batches.append(len(slots))
            step.started_at = step.started_at or ran.started
        for slot, result in zip(slots, ran.results, strict=True):
            step = slot.step
            if step.done.done():
                continue
            if isinstance(result, Exception):
                step.done.set_exception(_as_failure(result))
                continue
            step.results[slot.index] = result
            step.missing -= 1
            if not step.missing:
                step.done.set_result(None)


def _begin(begin: Callable[[], Job]) -> tuple[Job, list[View]]:
    job = begin()
    return job, next(job)


def _advance(job: Job, results: Results) -> "list[View] | Answer":
    try:
        return job.send(results)
    except StopIteration as stop:
        return stop.value


def _as_failure(error: Exception) -> InferenceFailed:
    return error if isinstance(error, InferenceFailed) else InferenceFailed(str(error))
