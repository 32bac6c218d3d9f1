"""Three times the capacity: what still gets answered, and how the rest is turned away."""

import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.service.client import Run, client
from benchmarks.service.report import Verdict, write
from benchmarks.service.server import Memory, Server, grown, serving
from service.bench.photos import Photos
from service.bench.records import ANSWERED, REFUSED
from service.bench.statistics import percentile
from service.bench.tables import Table, ms
from service.inference.cores import usable_cores
from service.inference.manifest import Mode
from service.inference.package import ModelPackage

TIMES = 3.0
GOODPUT = 0.9
REFUSAL_MS = 50.0
GROWTH = 0.05
FULL_S = 10.0
WARM_UP_S = 1.0
PER_PROCESS = 400


def measure(
    package: ModelPackage, photos: Photos, out: Path, logs: Path, *,
    modes: Sequence[Mode], precision: str, seconds: float, capacity_seconds: float,
    deadline_ms: int, users: int, processes: int,
) -> bool:  # fmt: skip
    """In every mode: find the capacity before and after, offer three times as much in between."""
    stretches: list[_Stretch] = []
    for mode in modes:
        with serving(package.folder, precision, logs / f"overload-{mode}.log") as server:
            stretches.append(
                _Stretch.taken(
                    server, photos, mode, seconds, capacity_seconds, deadline_ms, users, processes
                )
            )
    return write(
        out,
        "overload",
        package,
        [
            f"images: {photos.description}",
            f"{precision}; Poisson arrivals at {TIMES:g} × what the closed loop before did, for "
            f"{seconds:g} s; the capacity is the mean of the closed loops before and after; "
            f"deadline {deadline_ms} ms (X-Request-Timeout-Ms)",
            f"{processes} client process(es) on the server's machine: what it takes to offer three "
            "times the load is taken from the server, and so from the goodput; “client elsewhere” "
            "multiplies both rates by cores / (cores - those that the client kept busy)",
            "latency is from when a request was sent; goodput counts answers within the deadline",
            f"memory: of all the server's processes; the queue is full after {FULL_S:g} s",
        ],
        [verdict for stretch in stretches for verdict in stretch.verdicts(deadline_ms)],
        [
            Table(
                "Per second",
                ("mode", "load", "answered", "in time", "refused", "server cores", "client cores"),
                tuple(row for stretch in stretches for row in stretch.rows()),
            )
        ],
        {"stretches": [stretch.data() for stretch in stretches]},
    )


@dataclass(frozen=True)
class _Stretch:
    """A mode under overload, and the closed loops before and after it."""

    mode: Mode
    before: Run
    over: Run
    after: Run
    figures: "_Figures"
    statuses: dict[int, int]
    server_cores: float
    rss_mb: list[tuple[float, float]]
    """Seconds since the overload began, and MB."""

    @classmethod
    def taken(
        cls, server: Server, photos: Photos, mode: Mode, seconds: float, capacity_seconds: float,
        deadline_ms: int, users: int, processes: int,
    ) -> "_Stretch":  # fmt: skip
        """Measure it."""
        headers = {"X-Request-Timeout-Ms": str(deadline_ms)}
        with (
            client(server.classify_url, photos, mode, processes=1) as patient,
            client(
                server.classify_url, photos, mode, processes=processes,
                connections=processes * PER_PROCESS, headers=headers,
            ) as hurried,
        ):  # fmt: skip
            before = patient.closed(users, capacity_seconds, warm_up_s=WARM_UP_S)
            capacity = before.step.answered_per_second
            print(f"{mode}: capacity {capacity:.1f}/s", file=sys.stderr)
            counted, started, cpu = server.statuses(), time.monotonic(), server.cpu_s()
            with Memory(server, 0.5) as memory:
                over = hurried.opened(TIMES * capacity, seconds, warm_up_s=WARM_UP_S)
            server_cores = (server.cpu_s() - cpu) / (time.monotonic() - started)
            statuses = grown(server.statuses(), counted)
            after = patient.closed(users, capacity_seconds, warm_up_s=WARM_UP_S)
        figures = _Figures(over, deadline_ms, WARM_UP_S, seconds)
        return cls(mode, before, over, after, figures, statuses, server_cores, memory.samples)

    @property
    def capacity(self) -> float:
        """Images per second in the closed loops around it: their mean drifts least."""
        return statistics.fmean(run.step.answered_per_second for run in (self.before, self.after))

    def verdicts(self, deadline_ms: int) -> list[Verdict]:
        """What was promised of this mode, and what came out."""
        found, capacity = self.figures, self.capacity
        fails = sum(n for status, n in self.statuses.items() if status >= 500)
        refusals = sum(n for status, n in self.statuses.items() if status != 200)
        of_429 = self.statuses.get(429, 0) / refusals if refusals else 1.0
        settled = next((mb for at, mb in self.rss_mb if at >= FULL_S), self.rss_mb[0][1])
        last = self.rss_mb[-1][1]
        return [
            Verdict(
                f"{self.mode}: goodput ≥ {GOODPUT:.0%} of the capacity",
                f"{found.good_per_second / capacity:.0%} ({found.good_per_second:.1f} of "
                f"{capacity:.1f}/s); client elsewhere {self.elsewhere():.0%}",
                found.good_per_second >= GOODPUT * capacity,
            ),
            Verdict(
                f"{self.mode}: every refusal a 429",
                f"{of_429:.2%} of {refusals}; {self.over.step.failed} failed at the client",
                of_429 == 1.0 and not self.over.step.failed,
            ),
            Verdict(
                f"{self.mode}: refused within {REFUSAL_MS:g} ms, at the 99th percentile",
                f"p50 {ms(found.refused_p50_ms)}, p99 {ms(found.refused_p99_ms)} ms",
                found.refused_p99_ms <= REFUSAL_MS,
            ),
            Verdict(f"{self.mode}: no 5xx", f"{fails}; by status {self.statuses}", not fails),
            Verdict(
                f"{self.mode}: p99 of the admitted within the deadline of {deadline_ms} ms",
                f"{ms(found.admitted_p99_ms)} ms",
                found.admitted_p99_ms <= deadline_ms,
            ),
            Verdict(
                f"{self.mode}: memory flat, within {GROWTH:.0%} of where it was with a full queue",
                f"{self.rss_mb[0][1]:.0f} MB at the start, {settled:.0f} after {FULL_S:g} s, "
                f"{last:.0f} at the end",
                last <= settled * (1 + GROWTH),
            ),
        ]

    def elsewhere(self) -> float:
        """Goodput over capacity, as if the client had run on other cores."""
        cores = usable_cores()

        def left(run: Run) -> float:
            return cores - run.client_cpu_s / run.wall_s

        around = statistics.fmean(left(run) for run in (self.before, self.after))
        return self.figures.good_per_second / left(self.over) / (self.capacity / around)

    def rows(self) -> list[tuple[str, ...]]:
        """The table's rows: before, under and after the overload."""
        found = self.figures
        closed = [
            (self.mode, f"closed loop {when}", f"{run.step.answered_per_second:.1f}", "", "", "",
             f"{run.client_cpu_s / run.wall_s:.2f}")
            for when, run in (("before", self.before), ("after", self.after))
        ]  # fmt: skip
        over = (
            self.mode,
            "overload",
            f"{self.over.step.answered_per_second:.1f}",
            f"{found.good_per_second:.1f}",
            f"{found.refused_per_second:.1f}",
            f"{self.server_cores:.2f}",
            f"{self.over.client_cpu_s / self.over.wall_s:.2f}",
        )
        return [closed[0], over, closed[1]]

    def data(self) -> dict[str, Any]:
        """For the JSON."""
        before = self.before.step.answered_per_second
        return {
            "mode": self.mode,
            "capacity_per_second": self.capacity,
            "capacity_before_per_second": before,
            "capacity_after_per_second": self.after.step.answered_per_second,
            "offered_per_second": TIMES * before,
            "statuses": {str(status): n for status, n in self.statuses.items()},
            "rss_mb": [[round(at, 2), round(mb, 2)] for at, mb in self.rss_mb],
            "client_limited": self.over.step.client_limited,
            "lateness_p99_ms": self.over.step.lateness_p99_ms,
        }


class _Figures:
    """Of the requests that were due after the warm-up."""

    def __init__(self, run: Run, deadline_ms: float, warm_up_s: float, seconds: float) -> None:
        records = run.records.where(run.records.due_s >= warm_up_s)
        taken_ms = (records.done_s - records.sent_s) * 1e3
        answered, refused = records.status == ANSWERED, records.status == REFUSED
        self.good_per_second = int((answered & (taken_ms <= deadline_ms)).sum()) / seconds
        self.refused_per_second = int(refused.sum()) / seconds
        self.admitted_p99_ms = _percentile(taken_ms[answered], 99)
        self.refused_p50_ms = _percentile(taken_ms[refused], 50)
        self.refused_p99_ms = _percentile(taken_ms[refused], 99)


def _percentile(samples: np.ndarray, percent: float) -> float:
    return percentile(samples, percent) if samples.size else 0.0
