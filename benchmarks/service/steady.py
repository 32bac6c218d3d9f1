"""Tail latency: p99 against p50, for one request at a time and at half of the capacity."""

import random
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks.service.client import Client, Run, client
from benchmarks.service.queueing import tail_ratio
from benchmarks.service.report import Verdict, write
from benchmarks.service.server import Server, serving
from service.bench.photos import Photos
from service.bench.report.statistics import percentile
from service.bench.report.tables import ReportTable, ms
from service.inference.runtime.cores import usable_cores
from service.package.manifest import Mode
from service.package.package import ModelPackage

MOST = 3.0
HALF_LOAD = 0.5
IDLE, HALF = "idle: one request at a time", "half of the capacity, Poisson"
ON_ONE_CORE = "idle, a server with one thread"
"""Not a promise: the time of an image on one core, for the ideal queue."""


def measure(
    package: ModelPackage, photos: Photos, out: Path, logs: Path, *,
    modes: Sequence[Mode], precision: str, rounds: int, seconds: float, users: int, processes: int,
) -> bool:  # fmt: skip
    """Find the capacity in every mode, then measure both loads of each in turn, `rounds` times."""
    turns = list(product(modes, (IDLE, HALF, ON_ONE_CORE)))
    cores = usable_cores()
    runs: dict[tuple[Mode, str], list[Run]] = {turn: [] for turn in turns}
    with ExitStack() as stack:

        def clients(server: AbstractContextManager[Server]) -> dict[Mode, Client]:
            url = stack.enter_context(server).classify_url
            return {
                mode: stack.enter_context(client(url, photos, mode, processes=processes))
                for mode in modes
            }

        log, one_log = logs / "steady.log", logs / "steady-one-thread.log"
        asking = clients(serving(package.folder, precision, log))
        of_one_thread = clients(serving(package.folder, precision, one_log, threads="1"))
        capacity = {
            mode: asking[mode].closed(users, seconds).step.answered_per_second for mode in modes
        }
        order = random.Random(0)
        for _ in range(rounds):
            for mode, load in order.sample(turns, len(turns)):
                if load == HALF:
                    run = asking[mode].opened(capacity[mode] * HALF_LOAD, seconds)
                else:
                    run = (asking if load == IDLE else of_one_thread)[mode].closed(1, seconds)
                runs[mode, load].append(run)
                print(f"{mode}, {load}: {run.step.latency}", file=sys.stderr)
    latencies = {turn: _latencies(taken) for turn, taken in runs.items()}
    verdicts: list[Verdict] = []
    rows: list[tuple[str, ...]] = []
    for (mode, load), samples in latencies.items():
        p50, p99 = percentile(samples, 50), percentile(samples, 99)
        if load != ON_ONE_CORE:
            unanswered = sum(r.step.failed + r.step.refused for r in runs[mode, load])
            verdicts.append(
                Verdict(
                    f"{mode}, {load}: p99 ≤ {MOST:g} × p50, everything answered",
                    f"{p99 / p50:.2f}; {unanswered} unanswered",
                    p99 <= MOST * p50 and not unanswered,
                )
            )
        each = [
            percentile(_latencies([run]), 99) / percentile(_latencies([run]), 50)
            for run in runs[mode, load]
        ]
        late = max(run.step.lateness_p99_ms for run in runs[mode, load])
        rows.append(
            (
                mode,
                load,
                str(len(samples)),
                *(ms(percentile(samples, percent)) for percent in (50, 90, 99, 99.9)),
                f"{p99 / p50:.2f}",
                f"{min(each):.2f} to {max(each):.2f}",
                f"{tail_ratio(latencies[mode, ON_ONE_CORE], cores, HALF_LOAD):.2f}"
                if load == HALF
                else "",
                ms(late),
            )
        )
    return write(
        out,
        "steady",
        package,
        [
            f"images: {photos.description}",
            f"{precision}; capacity with {users} users in a closed loop: "
            + ", ".join(f"{mode} {rate:.1f} images/s" for mode, rate in capacity.items()),
            f"{rounds} rounds of {seconds:g} s of each load, in an order drawn anew each round",
            "latency of an open loop is from the instant a request was due; client and server "
            "share the machine",
            f"ideal queue: p99/p50 of {cores} places that serve the first in the queue and are "
            "never disturbed, at half of their capacity, if each image took one as long as it took "
            "the server with one thread",
        ],
        verdicts,
        [
            ReportTable(
                "Latency, ms",
                (
                    *("mode", "load", "n", "p50", "p90", "p99", "p99.9", "p99/p50"),
                    *("over the rounds", "ideal queue", "client late p99"),
                ),
                tuple(rows),
            )
        ],
        {
            "capacity_per_second": capacity,
            "latencies_ms": {
                f"{mode}, {load}": samples.tolist() for (mode, load), samples in latencies.items()
            },
        },
    )


def _latencies(runs: list[Run]) -> np.ndarray:
    samples = [v for run in runs for values in run.step.latencies_ms.values() for v in values]
    return np.array(samples, np.float64)
