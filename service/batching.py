"""The micro-batcher: views of many requests share batches, and nobody waits without need.

It counts views, not requests. When a place in the session falls free, the next batch is formed from
whatever waits: one view at low load, full batches at high load, no timer in between. On a CPU there
are several places and the same threads decode, so a batch is one place's share of all that waits,
decoded or not: smaller ones would waste what a batch saves, larger ones would keep images waiting
for a place that another was about to offer.

It drives the generators of `service.inference.tta`: what they yield is queued, what comes back is
sent. The workers do all of it, and the event loop hears of an image once, when it is answered:

    loop: admit (views, deadline) -> worker: begin, decode and cut -> queue -> batch -> next step
    -> queue again, or the answer -> loop
"""

import asyncio
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.admission import Admission, Nobody, Observer
from service.errors import DeadlineExceeded, InferenceFailed
from service.inference.batch import Job, Runs
from service.inference.session import Output
from service.inference.tta import Answer, Results, View
from service.workers import Urgency, Work, Workers

T = TypeVar("T")
Key = tuple[tuple[int, ...], Output]
Result = NDArray[np.float32] | Exception


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
class _Image:
    """One image, and the views that it waits for."""

    number: int
    """Counts up."""
    begin: Callable[[], Job]
    done: "asyncio.Future[Answer]"
    times: Times = field(default_factory=Times)
    job: Job | None = None
    first: int = 0
    """Views of the first step, which it was admitted with."""
    held: int = 0
    """Views of a later step, while they wait."""
    views: Sequence[View] = ()
    results: dict[int, Result] = field(default_factory=dict[int, Result])
    queued_at: float = 0.0
    started_at: float = 0.0
    gone: bool = False
    """Answered, failed, or nobody waits for it any more."""


class _Slot(NamedTuple):
    """One view in the queue. The image that came first goes first, in its second pass too."""

    number: int
    which: int
    image: _Image


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
        runner: Workers | None = None,
        observer: Observer | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`runner` runs the batches: by default the workers, a thread of its own for a GPU."""
        self._session = session
        self._workers = workers
        self._runner = runner or workers
        self._shares_threads = runner is None
        self._max_batch_views = max_batch_views
        self._observer: Observer = observer or Nobody()
        self._clock = clock
        self.admission = Admission(max_queue_views, self._observer, clock)
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        """Around all that follows."""
        self._begins: deque[_Image] = deque()
        self._queues: dict[Key, list[_Slot]] = {}
        """Heaps, of views that can share a batch."""
        self._finishes: deque[_Image] = deque()
        self._places = side_by_side
        """Batches that may run at once."""
        self._free_places = side_by_side
        """Batches that could start now."""
        self._let_go_first = 0
        """Images that began while views waited, since the last batch."""
        self._sources = (
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
        image = _Image(next(self._numbers), begin, done)
        with self._lock:
            self._begins.append(image)
        self._workers.wake()
        try:
            async with asyncio.timeout(timeout_s):
                answer = await done
        except TimeoutError:
            raise DeadlineExceeded(f"no answer within {timeout_s * 1000:.0f} ms") from None
        finally:
            self._leave(image)
        self.admission.answered(image.first)
        return answer, image.times

    async def drain(self) -> None:
        """Refuse what comes, finish what was admitted, and let the session go."""
        await self.admission.drain()
        for pool, urgency, take in self._sources:
            pool.remove(urgency, take)
        if not self._shares_threads:
            self._runner.shutdown()

    def _take_begin(self) -> Work | None:
        with self._lock:
            if not self._waits_to_begin():
                return None
            self._let_go_first += bool(self._queues)
            return partial(self._begin, self._begins.popleft())

    def _take_batch(self) -> Work | None:
        """A batch of views of one key: the key of the image that came first.

        Views are shared among the threads that are free; where this is the only one, it leaves
        the places that are busy now whole images, not parts of one.
        """
        with self._lock:
            waiting = sum(len(queue) for queue in self._queues.values())
            if not self._free_places or self._lets_others_go_first(waiting):
                return None
            helpers = min(self._free_places - 1, self._runner.idle)
            share = -(-waiting // (1 + helpers)) if helpers else self._share(waiting)
            slots = self._pop(share, whole_images=not helpers)
            if not slots:
                return None
            self._free_places -= 1
            self._let_go_first = 0
            return partial(self._run, slots, [slot.image.views[slot.which] for slot in slots])

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

    def _share(self, views: int) -> int:
        """One place's share of the views that wait and the images not yet decoded, rounded up."""
        images = len(self._begins) if self._shares_threads else 0
        return -(-(views + images) // self._places)

    def _pop(self, share: int, *, whole_images: bool) -> list[_Slot]:
        """`share` views of one key or, of whole images, as many more as the last of them has."""
        while self._queues:
            key = min(self._queues, key=lambda key: self._queues[key][0])
            queue = self._queues[key]
            slots: list[_Slot] = []
            while queue and len(slots) < self._max_batch_views:
                if len(slots) >= share and not (whole_images and queue[0].image is slots[-1].image):
                    break
                slot = heappop(queue)
                if not slot.image.gone:
                    slots.append(slot)
            if not queue:
                del self._queues[key]
            if slots:
                return slots
        return []

    def _begin(self, image: _Image) -> None:
        started = self._clock()
        outcome = _attempt(partial(_begun, image.begin))
        image.times.begin = self._clock() - started
        if isinstance(outcome, Exception):
            self._end(image, outcome)
            return
        image.job, views = outcome
        image.first = len(views)
        self._queue(image, views, held=0)

    def _queue(self, image: _Image, views: Sequence[View], held: int) -> None:
        """Let the views of one step wait for their batches."""
        with self._lock:
            if image.gone:
                return
            self._hold(image, held)
            image.views, image.results = views, {}
            image.queued_at, image.started_at = self._clock(), 0.0
            for which, view in enumerate(views):
                slot = _Slot(image.number, which, image)
                heappush(self._queues.setdefault(view.key, []), slot)
        # Of threads that share all work, this one will look for some itself.
        self._runner.wake(len(views) - self._shares_threads)

    def _run(self, slots: list[_Slot], views: list[View]) -> None:
        """Run a batch, and give each image its results."""
        started = self._clock()
        results = self._results(slots, views)
        ended = self._clock()
        self._observer.batch(len(slots), ended - started)
        images = dict.fromkeys(slot.image for slot in slots)
        with self._lock:
            self._free_places += 1
            more = bool(self._queues)
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

    def _results(self, slots: list[_Slot], views: list[View]) -> list[Result]:
        """A result for each view. Where a batch fails, each image is tried alone."""
        try:
            return list(self._session.run(np.stack([v.pixels for v in views]), views[0].output))
        except Exception as error:
            if len({slot.image for slot in slots}) == 1:
                return [error] * len(slots)
        results: list[Result] = []
        for image in dict.fromkeys(slot.image for slot in slots):
            own = [(s, v) for s, v in zip(slots, views, strict=True) if s.image is image]
            results += self._results([s for s, _ in own], [v for _, v in own])
        return results

    def _finish(self, image: _Image) -> None:
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

    def _end(self, image: _Image, outcome: Answer | Exception) -> None:
        self._leave(image)
        with suppress(RuntimeError):  # where the loop is closed, nobody waits
            image.done.get_loop().call_soon_threadsafe(_settle, image.done, outcome)

    def _leave(self, image: _Image) -> None:
        """An image that is gone keeps neither its place nor its pixels."""
        if not image.gone:
            with self._lock:
                image.gone = True
                image.views, image.job = (), None
                self._hold(image, 0)

    def _hold(self, image: _Image, views: int) -> None:
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
