"""Load over HTTP, the modes in turn: a closed loop of users from processes of its own."""

import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from benchmarks.gpu.deadline import Ended
from benchmarks.turns import in_turns
from service.bench.load.accounting import account
from service.bench.load.arrivals import schedule
from service.bench.load.load import CLOSED_ROUND, ENDPOINT, content_type
from service.bench.load.worker import Target
from service.bench.load.worker_pool import WorkerPool
from service.bench.photos import Photos
from service.bench.report.results import LoadStep
from service.bench.report.statistics import paired_ratio, percentile
from service.package.manifest import Mode

USERS, USERS_PER_PROCESS = 96, 16
"""There are at least `USERS` users, and more for many server processes, so that all have work."""
USERS_OF_LARGE, LARGE_BYTES = 16, 1_000_000
"""Fewer users send large files: the server decodes few of them at once."""
CORES_PER_CLIENT, MOST_CLIENTS = 4, 6
"""A client process needs about 0.1 ms of a core for a request of 90 kB. So four of them, on 16
cores, can send 4,000 requests a second and use a tenth of a core each."""
WARM_UP_S = 0.5


class Users:
    """Client processes that ask one server, in any of the modes."""

    def __init__(self, pool: WorkerPool, modes: Sequence[Mode], images: int, users: int) -> None:
        self._pool, self._modes, self._images, self.number = pool, tuple(modes), images, users
        self._generator = np.random.default_rng(0)

    def ask(self, mode: Mode, seconds: float) -> LoadStep:
        """All users ask in this mode."""
        mix: dict[Mode, float] = {one: float(one == mode) for one in self._modes}
        requests = schedule(np.zeros(CLOSED_ROUND), mix, self._images, self._generator)
        done = self._pool.run(requests, WARM_UP_S + seconds, self.number)
        return account(
            done.records, self._modes, warm_up_s=WARM_UP_S, seconds=seconds, percent=99,
            offered_per_second=None, client_cpu=done.cpu,
        )  # fmt: skip


def client_processes(cores: int | None = None) -> int:
    """Processes that send the requests."""
    return max(2, min(MOST_CLIENTS, (cores or os.cpu_count() or 1) // CORES_PER_CLIENT))


@contextmanager
def asking(url: str, photos: Photos, modes: Sequence[Mode], processes: int) -> Generator[Users]:
    """Users for a server with so many processes."""
    large = sum(map(len, photos.files)) > LARGE_BYTES * len(photos.files)
    users = USERS_OF_LARGE if large else max(USERS, USERS_PER_PROCESS * processes)
    target = Target(
        urls=tuple(f"{url}{ENDPOINT}?tta={mode}" for mode in modes),
        bodies=photos.files,
        content_types=tuple(photos.content_type or content_type(data) for data in photos.files),
        headers={},
        connections=users,
        timeout_s=30.0,
    )
    with WorkerPool(target, client_processes()) as pool:
        yield Users(pool, modes, len(photos.files), users)


def compared(
    url: str, photos: Photos, modes: Sequence[Mode], rounds: int, seconds: float, processes: int
) -> Generator[dict[str, Any]]:
    """Images per second of each mode, and its ratio to `none` within the same rounds.

    If the measurement is ended, the rows of what was measured come before the exception.
    """
    taken: dict[Mode, list[LoadStep]] = {mode: [] for mode in modes}
    ended: BaseException | None = None
    try:
        with asking(url, photos, modes, processes) as users:
            number_of_users = users.number
            for _, mode in in_turns(modes, range(rounds)):
                taken[mode].append(users.ask(mode, seconds))
    except (Exception, Ended) as error:
        ended = error
    base = [step.answered_per_second for step in taken["none"]]
    for mode, steps in taken.items():
        if steps:
            yield {"mode": mode, "users": number_of_users, **_row(steps, base)}
    if ended is not None:
        raise ended


def _row(steps: Sequence[LoadStep], base: Sequence[float]) -> dict[str, Any]:
    """Figures of one mode; `base` are the rates of `none`."""
    rates = [step.answered_per_second for step in steps]
    both = min(len(rates), len(base))  # the last round may be incomplete
    latencies = [step.latency for step in steps if step.latency is not None]
    ratio = paired_ratio(rates[:both], base[:both]) if both and all(base) else None
    return {
        "images_per_second": float(np.mean(rates)),
        "of_none": (ratio.value, ratio.low, ratio.high) if ratio else None,
        "p50_ms": percentile([one.p50_ms for one in latencies], 50) if latencies else None,
        "p99_ms": percentile([one.p99_ms for one in latencies], 50) if latencies else None,
        "failed": sum(step.failed for step in steps),
        "refused": sum(step.refused for step in steps),
        "client_cpu": max(step.client_cpu for step in steps),
        "client_limited": next((s.client_limited for s in steps if s.client_limited), None),
    }
