"""The load that every measurement puts on the server, from processes of its own."""

import multiprocessing
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.service.server import cpu_s
from service.bench.load.accounting import account
from service.bench.load.arrivals import Schedule, due_times, schedule
from service.bench.load.load import CLOSED_ROUND, content_type
from service.bench.load.records import ANSWERED, Records
from service.bench.load.worker import Target
from service.bench.load.worker_pool import WorkerPool
from service.bench.photos import Photos
from service.bench.report.results import LoadStep
from service.package.manifest import Mode


@dataclass(frozen=True)
class Run:
    """The result of one period of load."""

    step: LoadStep
    records: Records
    client_cpu_s: float
    """Processor time of all client processes."""
    wall_s: float

    @property
    def answered(self) -> NDArray[np.bool_]:
        """bool[N]: which requests were answered."""
        return self.records.status == ANSWERED

    @property
    def latency_ms(self) -> NDArray[np.float64]:
        """From sending a request to its answer, of those that were answered."""
        return (self.records.done_s - self.records.sent_s)[self.answered] * 1e3

    @property
    def client_cores(self) -> float:
        """Cores that the client processes kept busy."""
        return self.client_cpu_s / self.wall_s


class Client:
    """A pool of client processes for one URL and one mode."""

    def __init__(self, pool: WorkerPool, mode: Mode, images: int, seed: int) -> None:
        self._pool = pool
        self._mode: Mode = mode
        self._images = images
        self._generator = np.random.default_rng(seed)

    def closed(self, users: int, seconds: float, warm_up_s: float = 0.5) -> Run:
        """Closed loop: each user sends its next request when it has its answer."""
        requests = schedule(
            np.zeros(CLOSED_ROUND), {self._mode: 1.0}, self._images, self._generator
        )
        return self._run(requests, seconds, warm_up_s, users=users)

    def opened(self, rate: float, seconds: float, warm_up_s: float = 0.5) -> Run:
        """Open loop: Poisson arrivals that do not depend on the server."""
        due_s = due_times("poisson", rate, warm_up_s + seconds, self._generator)
        requests = schedule(due_s, {self._mode: 1.0}, self._images, self._generator)
        return self._run(requests, seconds, warm_up_s, rate=rate)

    def _cpu_s(self) -> float:
        return cpu_s([psutil.Process(process.pid) for process in multiprocessing.active_children()])

    def _run(
        self, requests: Schedule, seconds: float, warm_up_s: float, *,
        rate: float | None = None, users: int | None = None,
    ) -> Run:  # fmt: skip
        started, cpu = time.monotonic(), self._cpu_s()
        done = self._pool.run(requests, warm_up_s + seconds, users)
        wall_s, cpu_s = time.monotonic() - started, self._cpu_s() - cpu
        step = account(
            done.records, (self._mode,), warm_up_s=warm_up_s, seconds=seconds, percent=99,
            client_cpu=done.cpu, offered_per_second=rate, users=users,
        )  # fmt: skip
        return Run(step, done.records, cpu_s, wall_s)


@contextmanager
def client(
    url: str,
    photos: Photos,
    mode: Mode,
    *,
    processes: int = 1,
    connections: int = 64,
    headers: dict[str, str] | None = None,
    seed: int = 0,
) -> Generator[Client]:
    """A client that posts `photos` to `url`, which may be that of a peer."""
    target = Target(
        urls=(f"{url}?tta={mode}",),
        bodies=photos.files,
        content_types=tuple(photos.content_type or content_type(data) for data in photos.files),
        headers=headers or {},
        connections=connections,
        timeout_s=30.0,
    )
    with WorkerPool(target, processes) as pool:
        yield Client(pool, mode, len(photos.files), seed)
