"""Tail latency: p99 against p50, for one request at a time and at half of the capacity."""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks.service import stages
from benchmarks.service.client import Client, Run, client
from benchmarks.service.queueing import busy_share, tail_ratio
from benchmarks.service.report import Verdict, write
from benchmarks.service.server import Server, serving
from benchmarks.turns import in_turns
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
    kept_busy: dict[Mode, list[float]] = {mode: [] for mode in modes}
    """Cores that the server kept busy at half of the capacity, in each round."""
    with ExitStack() as stack:

        def clients(server: Server) -> dict[Mode, Client]:
            return {
                mode: stack.enter_context(
                    client(server.classify_url, photos, mode, processes=processes)
                )
                for mode in modes
            }

        log, one_log = logs / "steady.log", logs / "steady-one-thread.log"
        server = stack.enter_context(serving(package.folder, precision, log))
        asking = clients(server)
        of_one_thread = clients(
            stack.enter_context(serving(package.folder, precision, one_log, threads="1"))
        )
        capacity = {
            mode: asking[mode].closed(users, seconds).step.answered_per_second for mode in modes
        }
        for _, (mode, load) in in_turns(turns, rounds):
            if load == HALF:
                cpu_s = server.cpu_s()
                run = asking[mode].opened(capacity[mode] * HALF_LOAD, seconds)
                kept_busy[mode].append((server.cpu_s() - cpu_s) / run.wall_s)
            else:
                run = (asking if load == IDLE else of_one_thread)[mode].closed(1, seconds)
            runs[mode, load].append(run)
            print(f"{mode}, {load}: {run.step.latency}", file=sys.stderr)
        staged = [
            row
            for mode in modes
            for row in stages.rows(
                server.classify_url, photos, mode, capacity[mode] * HALF_LOAD, seconds
            )
        ]
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
                _ideal(latencies[mode, ON_ONE_CORE], cores, capacity[mode]) if load == HALF else "",
                f"{np.mean(kept_busy[mode]):.2f}" if load == HALF else "",
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
            "never disturbed, if each image took one as long as it took the server with one "
            "thread; first at half of the capacity of these places, then at the rate that the "
            "server was offered, which is higher because the server shares work between images",
            "server cores: kept busy by the server's processes, without the client",
            stages.EXPLAINED,
        ],
        verdicts,
        [
            ReportTable(
                "Latency, ms",
                (
                    *("mode", "load", "n", "p50", "p90", "p99", "p99.9", "p99/p50"),
                    *("over the rounds", "ideal queue", "server cores", "client late p99"),
                ),
                tuple(rows),
            ),
            ReportTable("Stages", stages.COLUMNS, tuple(staged)),
        ],
        {
            "capacity_per_second": capacity,
            "server_cores_at_half_load": kept_busy,
            "latencies_ms": {
                f"{mode}, {load}": samples.tolist() for (mode, load), samples in latencies.items()
            },
        },
    )


def _ideal(service_ms: np.ndarray, places: int, capacity: float) -> str:
    """The ideal queue at half of its own capacity, and at the rate that the server was offered."""
    offered = busy_share(service_ms, places, capacity * HALF_LOAD)
    ratios = (tail_ratio(service_ms, places, load) for load in (HALF_LOAD, offered))
    return " to ".join(f"{ratio:.2f}" for ratio in ratios)


def _latencies(runs: list[Run]) -> np.ndarray:
    samples = [v for run in runs for values in run.step.latencies_ms.values() for v in values]
    return np.array(samples, np.float64)
