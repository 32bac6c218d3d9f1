"""Tail latency: p99 against p50, for one request at a time and at half of the capacity."""

import sys
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
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
COLUMNS = (
    *("mode", "load", "n", "p50", "p90", "p99", "p99.9", "p99/p50"),
    *("over the rounds", "ideal queue", "server cores", "client late p99"),
)
Turn = tuple[Mode, str]
"""A mode and a load."""


def measure(
    package: ModelPackage, photos: Photos, out: Path, logs: Path, *,
    modes: Sequence[Mode], precision: str, rounds: int, seconds: float, users: int, processes: int,
) -> bool:  # fmt: skip
    """Find the capacity in every mode, then measure both loads of each in turn, `rounds` times."""
    taken = _Taken()
    log, one_log = logs / "steady.log", logs / "steady-one-thread.log"
    with (
        serving(package.folder, precision, log) as server,
        serving(package.folder, precision, one_log, threads="1") as one_thread,
        _clients(server, photos, modes, processes) as asking,
        _clients(one_thread, photos, modes, processes) as asking_one_thread,
    ):
        for mode in modes:
            closed = asking[mode].closed(users, seconds)
            taken.capacity[mode] = closed.step.answered_per_second
        _take_turns(taken, server, asking, asking_one_thread, rounds, seconds)
        for mode in modes:
            rate = taken.capacity[mode] * HALF_LOAD
            taken.stages += stages.rows(server.classify_url, photos, mode, rate, seconds)
    return write(
        out,
        "steady",
        package,
        _about(taken, photos, precision, rounds, seconds, users),
        [taken.verdict(mode, load) for mode, load in taken.runs if load != ON_ONE_CORE],
        [
            ReportTable("Latency, ms", COLUMNS, tuple(taken.row(*turn) for turn in taken.runs)),
            ReportTable("Stages", stages.COLUMNS, tuple(taken.stages)),
        ],
        {
            "capacity_per_second": taken.capacity,
            "server_cores_at_half_load": taken.kept_busy,
            "latencies_ms": {
                f"{mode}, {load}": taken.latencies(mode, load).tolist() for mode, load in taken.runs
            },
        },
    )


@dataclass
class _Taken:
    """What was measured."""

    capacity: dict[Mode, float] = field(default_factory=dict[Mode, float])
    """Images per second in a closed loop."""
    runs: dict[Turn, list[Run]] = field(default_factory=dict[Turn, list[Run]])
    """The runs of each mode and load, one for each round."""
    kept_busy: dict[Mode, list[float]] = field(default_factory=dict[Mode, list[float]])
    """Cores that the server kept busy at half of the capacity, in each round."""
    stages: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])

    def latencies(self, mode: Mode, load: str) -> np.ndarray:
        """Of all requests of all rounds, in milliseconds."""
        return _latencies(self.runs[mode, load])

    def verdict(self, mode: Mode, load: str) -> Verdict:
        """Whether p99 is within the promise, and every request was answered."""
        ratio = _ratio(self.latencies(mode, load))
        unanswered = sum(run.step.failed + run.step.refused for run in self.runs[mode, load])
        return Verdict(
            f"{mode}, {load}: p99 ≤ {MOST:g} × p50, everything answered",
            f"{ratio:.2f}; {unanswered} unanswered",
            ratio <= MOST and not unanswered,
        )

    def row(self, mode: Mode, load: str) -> tuple[str, ...]:
        """The row of the table `COLUMNS`."""
        samples, runs = self.latencies(mode, load), self.runs[mode, load]
        each = [_ratio(_latencies([run])) for run in runs]
        ideal = busy = ""
        if load == HALF:
            alone = self.latencies(mode, ON_ONE_CORE)
            ideal = _ideal(alone, usable_cores(), self.capacity[mode])
            busy = f"{np.mean(self.kept_busy[mode]):.2f}"
        return (
            mode,
            load,
            str(len(samples)),
            *(ms(percentile(samples, percent)) for percent in (50, 90, 99, 99.9)),
            f"{_ratio(samples):.2f}",
            f"{min(each):.2f} to {max(each):.2f}",
            ideal,
            busy,
            ms(max(run.step.lateness_p99_ms for run in runs)),
        )


@contextmanager
def _clients(
    server: Server, photos: Photos, modes: Sequence[Mode], processes: int
) -> Generator[dict[Mode, Client]]:
    """A client for each mode."""
    with ExitStack() as stack:
        yield {
            mode: stack.enter_context(
                client(server.classify_url, photos, mode, processes=processes)
            )
            for mode in modes
        }


def _take_turns(
    taken: _Taken,
    server: Server,
    asking: dict[Mode, Client],
    asking_one_thread: dict[Mode, Client],
    rounds: int,
    seconds: float,
) -> None:
    """Run every mode and load once in each round, in an order drawn anew."""
    turns = list(product(asking, (IDLE, HALF, ON_ONE_CORE)))
    taken.runs = {turn: [] for turn in turns}
    taken.kept_busy = {mode: [] for mode in asking}
    for _, (mode, load) in in_turns(turns, range(rounds)):
        if load == HALF:
            cpu_s = server.cpu_s()
            run = asking[mode].opened(taken.capacity[mode] * HALF_LOAD, seconds)
            taken.kept_busy[mode].append((server.cpu_s() - cpu_s) / run.wall_s)
        else:
            run = (asking if load == IDLE else asking_one_thread)[mode].closed(1, seconds)
        taken.runs[mode, load].append(run)
        print(f"{mode}, {load}: {run.step.latency}", file=sys.stderr)


def _about(
    taken: _Taken, photos: Photos, precision: str, rounds: int, seconds: float, users: int
) -> list[str]:
    """The conditions of the measurement, a line each."""
    rates = ", ".join(f"{mode} {rate:.1f} images/s" for mode, rate in taken.capacity.items())
    return [
        f"images: {photos.description}",
        f"{precision}; capacity with {users} users in a closed loop: {rates}",
        f"{rounds} rounds of {seconds:g} s of each load, in an order drawn anew each round",
        "latency of an open loop is from the instant a request was due; client and server share "
        "the machine",
        f"ideal queue: p99/p50 of {usable_cores()} places that serve the first in the queue and "
        "are never disturbed, if each image took one as long as it took the server with one "
        "thread; first at half of the capacity of these places, then at the rate that the server "
        "was offered, which is higher because the server shares work between images",
        "server cores: kept busy by the server's processes, without the client",
        stages.EXPLAINED,
    ]


def _ratio(samples: np.ndarray) -> float:
    """p99 / p50."""
    return percentile(samples, 99) / percentile(samples, 50)


def _ideal(service_ms: np.ndarray, places: int, capacity: float) -> str:
    """The ideal queue at half of its own capacity, and at the rate that the server was offered."""
    offered = busy_share(service_ms, places, capacity * HALF_LOAD)
    ratios = (tail_ratio(service_ms, places, load) for load in (HALF_LOAD, offered))
    return " to ".join(f"{ratio:.2f}" for ratio in ratios)


def _latencies(runs: Sequence[Run]) -> np.ndarray:
    samples = [v for run in runs for values in run.step.latencies_ms.values() for v in values]
    return np.array(samples, np.float64)
