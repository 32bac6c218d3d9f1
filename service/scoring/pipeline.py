"""Overlapping stages with bounded memory: some threads read and decode, others infer.

    items ──> feeder ──> decode threads ──> chunk ──> inference threads ──> rows
              one thread  look ahead by       in the   a chunk each, while   in the order
                          LOOKAHEAD images    caller   others are decoded    of the items

`service.scoring.groups` says where a chunk ends. It depends on the items alone, so the same items
from the same start give the same chunks, the same batches and the same rows to the last bit. The
timing of threads does not matter.
"""

import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import chain, repeat
from queue import SimpleQueue

from service.errors import OutOfResources
from service.scoring.groups import GroupEnds, Located, chunks
from service.scoring.item import Item, Position
from service.scoring.options import Speed
from service.scoring.rows import Row
from service.scoring.scorer import Prepared, Scorer

LOOKAHEAD_BYTES = 256 * 1024 * 1024
GPU_INFERENCE_THREADS = 2
"""On a GPU the batches of the next chunk start while the answers of the last chunk are read."""

STOP_SECONDS = 1.0
"""The end of a run waits this long for a thread that reads an idle pipe or a slow network."""

Upcoming = tuple[Future[Prepared], bool] | BaseException | None
"""An image, and whether it is the last one of its group."""


class DecodePipeline:
    """Draws items and hands them to the decode threads, never more than a few ahead."""

    def __init__(
        self,
        items: Iterable[Located],
        scorer: Scorer,
        pool: ThreadPoolExecutor,
        ahead: int,
        ends: GroupEnds,
    ) -> None:
        self._items = items
        self._ends = ends
        self._scorer = scorer
        self._pool = pool
        self._room = threading.Semaphore(ahead)
        self._bytes = threading.Condition()
        self._held_bytes = 0
        self._queued = 0
        self._stopped = False
        self._queue: SimpleQueue[Upcoming] = SimpleQueue()
        self._thread = threading.Thread(target=self._feed, name="score-feeder", daemon=True)

    def __enter__(self) -> "DecodePipeline":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._bytes:
            self._stopped = True
            self._bytes.notify_all()
        self._room.release()
        self._thread.join(STOP_SECONDS)

    def __iter__(self) -> Iterator[tuple[Prepared, bool]]:
        """Prepared images in the order of the items, and whether each is the last of its group.

        An error of the source is raised here.
        """
        while (upcoming := self._queue.get()) is not None:
            if isinstance(upcoming, BaseException):
                raise upcoming
            future, ends = upcoming
            prepared = future.result()
            with self._bytes:
                self._held_bytes -= prepared.held_bytes
                self._queued -= 1
                self._bytes.notify_all()
            self._room.release()
            yield prepared, ends

    def _feed(self) -> None:
        try:
            for position, item in self._items:
                self._room.acquire()
                with self._bytes:
                    # Large images: wait until the head of the queue leaves. It can always leave.
                    self._bytes.wait_for(
                        lambda: (
                            self._stopped or self._queued == 0 or self._held_bytes < LOOKAHEAD_BYTES
                        )
                    )
                    if self._stopped:
                        return
                    self._queued += 1
                future = self._pool.submit(self._prepare, item, position)
                self._queue.put((future, self._ends.at(item)))
            self._queue.put(None)
        except BaseException as error:  # the caller must get every kind of error
            self._queue.put(error)

    def _prepare(self, item: Item, position: Position) -> Prepared:
        prepared = self._scorer.prepare(item, position)
        with self._bytes:
            self._held_bytes += prepared.held_bytes
        return prepared


def score_items(
    items: Iterable[Located], scorer: Scorer, speed: Speed
) -> Generator[list[Row], None, None]:
    """Rows in the order of `items`, a group at a time: a run can continue after any of them.

    Raises:
        InferenceFailed: the runtime failed.
        OutOfResources: memory, open files, threads or processes ran out.
        UsageError: this system has no processes that decode.
    """
    if speed.decode_processes:
        from service.scoring.processes.pool import score_in_processes

        with _naming_what_ran_out():
            yield from score_in_processes(items, scorer, speed)
        return
    session = scorer.predictor.session
    on_cpu = session.provider == "cpu"
    workers = (
        session.max_concurrent_batches(speed.infer_threads) if on_cpu else GPU_INFERENCE_THREADS
    )
    running: deque[tuple[Future[list[Row]], bool]] = deque()
    rows: list[Row] = []
    with ExitStack() as stack:
        stack.enter_context(_naming_what_ran_out())
        infer = ThreadPoolExecutor(workers, "score-infer")
        stack.callback(infer.shutdown, cancel_futures=True)
        decode = ThreadPoolExecutor(speed.decode_threads, "score-decode")
        stack.callback(decode.shutdown, cancel_futures=True)
        ahead = max(speed.chunk_images, 2 * speed.decode_threads)
        ends_of_groups = GroupEnds(speed.chunk_images)
        feeder = stack.enter_context(DecodePipeline(items, scorer, decode, ahead, ends_of_groups))
        # None: at the end the chunks that still run are waited for.
        for upcoming in chain(chunks(feeder), repeat(None)):
            if upcoming is not None:
                chunk, ends = upcoming
                running.append((infer.submit(scorer.finish, chunk), ends))
                if len(running) <= workers:
                    continue
            elif not running:
                break
            done, ends = running.popleft()
            rows += done.result()
            if ends:
                yield rows
                rows = []


@contextmanager
def _naming_what_ran_out() -> Generator[None]:
    """End the run if memory or threads run out: the next image would fail in the same way."""
    try:
        yield
    except MemoryError as error:
        raise OutOfResources(
            "memory ran out; give the process more of it, or work on less at once "
            "(--decode-threads, --threads, --chunk-images)"
        ) from error
    except RuntimeError as error:
        if "can't start new thread" not in str(error):
            raise
        raise OutOfResources(
            "no thread can be started; raise the limit (ulimit -u, or memory), or use fewer "
            "(--decode-threads, --threads)"
        ) from error
