"""Load over HTTP, the modes in turn: a closed loop of users from processes of its own."""

import random
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from service.bench.load.accounting import account
from service.bench.load.arrivals import schedule
from service.bench.load.load import CLOSED_ROUND, ENDPOINT, content_type
from service.bench.load.worker import Target
from service.bench.load.worker_pool import WorkerPool
from service.bench.photos import Photos
from service.bench.report.results import LoadStep
from service.bench.report.statistics import paired_ratio, percentile
from service.package.manifest import Mode

USERS, CLIENTS = 96, 2
USERS_OF_LARGE, LARGE_BYTES = 16, 1_000_000
"""Fewer users send large files: the server decodes few of them at once."""
WARM_UP_S = 0.5


@contextmanager
def _user(
    url: str, photos: Photos, mode: Mode, users: int
) -> Generator[Callable[[float], LoadStep]]:
    """A function that asks for so many seconds."""
    target = Target(
        urls=(f"{url}{ENDPOINT}?tta={mode}",),
        bodies=photos.files,
        content_types=tuple(photos.content_type or content_type(data) for data in photos.files),
        headers={},
        connections=users,
        timeout_s=30.0,
    )
    generator = np.random.default_rng(0)
    with WorkerPool(target, CLIENTS) as pool:

        def ask(seconds: float) -> LoadStep:
            requests = schedule(np.zeros(CLOSED_ROUND), {mode: 1.0}, len(photos.files), generator)
            done = pool.run(requests, WARM_UP_S + seconds, users)
            return account(
                done.records, (mode,), warm_up_s=WARM_UP_S, seconds=seconds, percent=99,
                offered_per_second=None, client_cpu=done.cpu,
            )  # fmt: skip

        yield ask


def compared(
    url: str, photos: Photos, modes: Sequence[Mode], rounds: int, seconds: float
) -> list[dict[str, Any]]:  # fmt: skip
    """Images per second of each mode, and its ratio to `none` within the same rounds."""
    large = sum(map(len, photos.files)) > LARGE_BYTES * len(photos.files)
    users = USERS_OF_LARGE if large else USERS
    taken: dict[Mode, list[LoadStep]] = {mode: [] for mode in modes}
    with ExitStack() as stack:
        ask = {mode: stack.enter_context(_user(url, photos, mode, users)) for mode in modes}
        for number in range(rounds):
            for mode in random.Random(number).sample(list(modes), len(modes)):
                taken[mode].append(ask[mode](seconds))
    base = [step.answered_per_second for step in taken["none"]]
    rows: list[dict[str, Any]] = []
    for mode, steps in taken.items():
        rates = [step.answered_per_second for step in steps]
        latencies = [step.latency for step in steps if step.latency is not None]
        ratio = paired_ratio(rates, base) if all(base) else None
        rows.append(
            {
                "mode": mode,
                "images_per_second": float(np.mean(rates)),
                "of_none": (ratio.value, ratio.low, ratio.high) if ratio else None,
                "p50_ms": percentile([one.p50_ms for one in latencies], 50) if latencies else None,
                "p99_ms": percentile([one.p99_ms for one in latencies], 50) if latencies else None,
                "failed": sum(step.failed + step.refused for step in steps),
                "client_limited": next((s.client_limited for s in steps if s.client_limited), None),
            }
        )
    return rows
