"""Rows from several worker processes, in the order of the items.

    items ──> groups ──> a thread for each process ──> rows, in the order of the groups
                          │ sends a group to its process, runs the batches that
                          │ come back through the session, receives the rows

Each group goes through the same steps as in threads (`service.scoring.pipeline`), so the rows are
equal to the last bit. A process starts when a group finds no other one free.
"""

import logging
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import Any

from service import own_process
from service.errors import OutOfResources, UsageError
from service.inference.image.budget import DECODING
from service.scoring.groups import Located, groups
from service.scoring.options import Speed
from service.scoring.processes import remote
from service.scoring.processes.block import SharedBlock
from service.scoring.processes.pipe import receive
from service.scoring.processes.worker import Setup
from service.scoring.rows import Row
from service.scoring.scorer import Scorer

AHEAD = 2
"""Groups that were begun and not yet handed on, for each process."""
TRIES = 2
"""A group is given to another process once if its process dies."""

logger = logging.getLogger("quincunx.score")


class Worker:
    """A worker process, and the ends of its pipe and its block."""

    def __init__(self, setup: Setup) -> None:
        """Start it.

        Raises:
            OSError: no process can be started, or no file can be opened.
        """
        with ExitStack() as stack:
            ours, theirs = socket.socketpair()
            stack.callback(theirs.close)
            self._pipe = Connection(ours.detach())
            self._block = SharedBlock.create()
            passed = (theirs.fileno(), self._block.fd)
            self._process = subprocess.Popen(  # noqa: S603
                own_process.command("service.scoring.processes.worker", *passed),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # rows may be written there
                pass_fds=passed,
                start_new_session=True,  # Ctrl-C is for the process with the run
            )
        self._setup: Setup | None = setup

    def rows(self, group: list[Located], network: remote.Network) -> list[Row]:
        """Score a group; `network` runs its views.

        Raises:
            EOFError, ConnectionError: the process has died.
            InferenceFailed: the runtime failed.
            OutOfResources: memory or open files ran out.
        """
        if self._setup is not None:
            self._pipe.send(self._setup)
            self._setup = None
        self._pipe.send(group)
        while True:
            kind, given = receive(self._pipe)
            if kind == "rows":
                return given
            if kind == "failed":
                raise given
            remote.answer(kind, given, network, self._pipe, self._block)

    def kill(self) -> None:
        """End the process at once. May be called from any thread."""
        self._process.kill()

    def close(self) -> int:
        """End the process and give back what it held; returns its exit code."""
        self.kill()
        code = self._process.wait()
        self._pipe.close()
        self._block.close()
        return code


class Pool:
    """A number of workers, each used by one thread at a time."""

    def __init__(self, setup: Setup, network: remote.Network) -> None:
        self._setup = setup
        self._network = network
        self._lock = threading.Lock()
        self._all: set[Worker] = set()
        self._free: list[Worker] = []
        self._closing = False

    def rows(self, group: list[Located]) -> list[Row]:
        """Score a group in a free worker, or in a new one.

        Raises:
            OutOfResources: the worker was killed, twice, or cannot be started.
            InferenceFailed: the runtime failed.
        """
        for left in reversed(range(TRIES)):
            worker = self._take()
            try:
                rows = worker.rows(group, self._network)
            except (EOFError, ConnectionError):
                self._bury(worker, group, left)
                continue
            with self._lock:
                self._free.append(worker)
            return rows
        raise AssertionError("the last try returns or raises")

    def close(self) -> None:
        """Kill all workers; threads that wait for one get an error."""
        with self._lock:
            self._closing = True
            for worker in self._all:
                worker.kill()

    def _take(self) -> Worker:
        with self._lock:
            if self._closing:
                raise EOFError("the run is over")
            if self._free:
                return self._free.pop()
            try:
                worker = Worker(self._setup)
            except OSError as error:
                raise OutOfResources(
                    f"a process that decodes cannot be started: {error.strerror or error}; use "
                    "fewer (--decode-processes)"
                ) from error
            self._all.add(worker)
            return worker

    def _bury(self, worker: Worker, group: list[Located], tries_left: int) -> None:
        """Raises OutOfResources if there is no other try."""
        with self._lock:
            self._all.discard(worker)
            code = worker.close()
            if self._closing:
                raise EOFError("the run is over")
        first, last = group[0][1].path, group[-1][1].path
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        text = f"a process {how} while it decoded images from {first} to {last}"
        if not tries_left:
            raise OutOfResources(
                f"{text}, and the process before it ended too; give the processes more memory, or "
                "use fewer (--decode-processes; 0: threads)"
            )
        logger.warning("%s; another one tries", text)

    def bury_all(self) -> None:
        """Collect the processes after `close`, when no thread uses them any more."""
        for worker in self._all:
            worker.close()
        self._all.clear()


def score_in_processes(
    items: Iterable[Located], scorer: Scorer, speed: Speed
) -> Generator[list[Row], None, None]:
    """Rows in the order of `items`, a group at a time, from `speed.decode_processes` processes.

    Raises:
        InferenceFailed: the runtime failed.
        OutOfResources: memory, open files or processes ran out.
        UsageError: this system has no such processes.
    """
    if sys.platform == "win32":
        raise UsageError("--decode-processes needs Linux or macOS; use 0 on Windows")
    number = speed.decode_processes or 1
    running: deque[Future[list[Row]]] = deque()
    with ExitStack() as stack:
        pool = Pool(_setup(scorer, number), _network(scorer, speed))
        stack.callback(pool.bury_all)
        threads = ThreadPoolExecutor(number, "score-process")
        stack.callback(threads.shutdown, cancel_futures=True)
        stack.callback(pool.close)
        for group in groups(items, speed.chunk_images):
            running.append(threads.submit(pool.rows, group))
            if len(running) > AHEAD * number:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()


def _setup(scorer: Scorer, processes: int) -> Setup:
    predictor = scorer.predictor
    return Setup(
        package=predictor.package,
        precision=predictor.precision,
        provider=predictor.session.provider,
        shares_crops=predictor.session.shares_crops,
        max_pixels=predictor.max_pixels,
        max_decode_ms=predictor.max_decode_ms,
        options=scorer.options,
        batch_views=scorer.batch_views,
        decoding_pixels=max(1, DECODING.limit_pixels // processes),
    )


def _network(scorer: Scorer, speed: Speed) -> remote.Network:
    """The session, which on a CPU runs as many batches at once as it has cores."""
    session = scorer.predictor.session
    if session.provider != "cpu":
        return session  # it has an order of its own
    return _Bounded(session, session.max_concurrent_batches(speed.infer_threads))


class _Bounded:
    """A session with a limit on how many runs it gets at once."""

    def __init__(self, session: remote.Network, most: int) -> None:
        self._session = session
        self._turns = threading.Semaphore(most)

    def run(self, views: Any, output: Any, windows: Any = None) -> Any:
        with self._turns:
            return self._session.run(views, output, windows)

    def run_with_embedding(self, views: Any, output: Any, windows: Any = None) -> Any:
        with self._turns:
            return self._session.run_with_embedding(views, output, windows)

    def crops(self, image: Any, boxes: Any) -> Any:
        with self._turns:
            return self._session.crops(image, boxes)
