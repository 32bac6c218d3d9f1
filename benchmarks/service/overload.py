"""Three times the capacity: how many requests are answered, and how the others are refused."""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.service.client import Run, client
from benchmarks.service.report import Verdict, write
from benchmarks.service.server import Memory, Server, grown, serving
from service.bench.load.records import ANSWERED, REFUSED, Records
from service.bench.photos import Photos
from service.bench.report.statistics import percentile
from service.bench.report.tables import ReportTable, ms
from service.inference.runtime.cores import usable_cores
from service.package.manifest import Mode
from service.package.package import ModelPackage

TIMES = 3.0
GOODPUT = 0.9
REFUSAL_MS = 50.0
GROWTH = 0.05
FULL_S = 10.0
WARM_UP_S = 1.0
PER_PROCESS = 400


def measure(
    package: ModelPackage, photos: Photos, out: Path, logs: Path, *,
    modes: Sequence[Mode], precision: str, seconds: float, rounds: int, capacity_seconds: float,
    deadline_ms: int, users: int, processes: int,
) -> bool:  # fmt: skip
    """In every mode: find the capacity, offer three times as much, and again, `rounds` times."""
    taken: list[_Overload] = []
    for mode in modes:
        with serving(package.folder, precision, logs / f"overload-{mode}.log") as server:
            taken.append(
                _Overload.taken(
                    server, photos, mode, seconds, rounds, capacity_seconds, deadline_ms, users,
                    processes,
                )
            )  # fmt: skip
    return write(
        out,
        "overload",
        package,
        [
            f"images: {photos.description}",
            f"{precision}; Poisson arrivals at {TIMES:g} × what the closed loop before did, for "
            f"{seconds:g} s, {rounds} times; the capacity of each time is the mean of the closed "
            f"loops before and after it; deadline {deadline_ms} ms (X-Request-Timeout-Ms)",
            f"{processes} client process(es) on the server's machine: what it takes to offer three "
            "times the load is taken from the server, and so from the goodput; “client elsewhere” "
            "multiplies both rates by cores / (cores - those that the client kept busy)",
            "latency is from when a request was sent; goodput counts answers within the deadline; "
            "shares of the capacity are medians [least, most], all else is of all times together",
            f"memory: of all the server's processes; the queue is full after {FULL_S:g} s",
        ],
        [verdict for overload in taken for verdict in overload.verdicts(deadline_ms)],
        [
            ReportTable(
                "Per second",
                ("mode", "load", "answered", "in time", "refused", "server cores", "client cores"),
                tuple(row for overload in taken for row in overload.rows()),
            )
        ],
        {"overloads": [overload.data() for overload in taken]},
    )


@dataclass(frozen=True)
class _Stretch:
    """One period of three times the capacity, and the closed loops before and after it."""

    before: Run
    over: Run
    after: Run
    server_cores: float
    records: Records
    """Records of the requests that were due after the warm-up."""
    good_per_second: float
    refused_per_second: float

    @property
    def capacity(self) -> float:
        """Images per second in the closed loops before and after: their mean drifts least."""
        return (self.before.step.answered_per_second + self.after.step.answered_per_second) / 2

    @property
    def goodput(self) -> float:
        """As a share of the capacity."""
        return self.good_per_second / self.capacity

    @property
    def elsewhere(self) -> float:
        """The goodput if the client had run on other cores."""
        around = (_left(self.before) + _left(self.after)) / 2
        return self.goodput * around / _left(self.over)


@dataclass(frozen=True)
class _Overload:
    """A mode under overload."""

    mode: Mode
    stretches: list[_Stretch]
    statuses: dict[int, int]
    rss_mb: list[tuple[float, float]]
    """Seconds since the first overload began, and MB."""

    @classmethod
    def taken(
        cls, server: Server, photos: Photos, mode: Mode, seconds: float, rounds: int,
        capacity_seconds: float, deadline_ms: int, users: int, processes: int,
    ) -> "_Overload":  # fmt: skip
        """Measure it."""
        headers = {"X-Request-Timeout-Ms": str(deadline_ms)}
        with (
            client(server.classify_url, photos, mode, processes=1) as patient,
            client(
                server.classify_url, photos, mode, processes=processes,
                connections=processes * PER_PROCESS, headers=headers,
            ) as hurried,
        ):  # fmt: skip
            closed = [patient.closed(users, capacity_seconds, warm_up_s=WARM_UP_S)]
            overs: list[tuple[Run, float]] = []
            statuses = Counter[int]()
            with Memory(server, 0.5) as memory:
                for number in range(1, rounds + 1):
                    capacity = closed[-1].step.answered_per_second
                    progress = f"{mode} {number}/{rounds}: capacity {capacity:.1f}/s"
                    print(progress, file=sys.stderr, flush=True)
                    counted, started, cpu = server.statuses(), time.monotonic(), server.cpu_s()
                    run = hurried.opened(TIMES * capacity, seconds, warm_up_s=WARM_UP_S)
                    overs.append((run, (server.cpu_s() - cpu) / (time.monotonic() - started)))
                    statuses += Counter(grown(server.statuses(), counted))
                    closed.append(patient.closed(users, capacity_seconds, warm_up_s=WARM_UP_S))
        stretches: list[_Stretch] = []
        for before, (over, cores), after in zip(closed, overs, closed[1:], strict=False):
            records = over.records.where(over.records.due_s >= WARM_UP_S)
            in_time = (records.status == ANSWERED) & (_taken_ms(records) <= deadline_ms)
            good, refused = in_time.sum() / seconds, (records.status == REFUSED).sum() / seconds
            stretches.append(
                _Stretch(before, over, after, cores, records, float(good), float(refused))
            )
        return cls(mode, stretches, dict(statuses), memory.samples)

    def verdicts(self, deadline_ms: int) -> list[Verdict]:
        """The promises for this mode, and the results."""
        goodput = [stretch.goodput for stretch in self.stretches]
        elsewhere = [stretch.elsewhere for stretch in self.stretches]
        refused_ms, admitted_ms = self._taken_ms(REFUSED), self._taken_ms(ANSWERED)
        refused_p99_ms, admitted_p99_ms = (_percentile(x, 99) for x in (refused_ms, admitted_ms))
        fails = sum(n for status, n in self.statuses.items() if status >= 500)
        refusals = sum(n for status, n in self.statuses.items() if status != 200)
        of_429 = self.statuses.get(429, 0) / refusals if refusals else 1.0
        failed = sum(stretch.over.step.failed for stretch in self.stretches)
        settled = next((mb for at, mb in self.rss_mb if at >= FULL_S), self.rss_mb[0][1])
        last = self.rss_mb[-1][1]
        return [
            Verdict(
                f"{self.mode}: goodput ≥ {GOODPUT:.0%} of the capacity",
                f"{_spread(goodput)}; client elsewhere {_spread(elsewhere)}",
                float(np.median(goodput)) >= GOODPUT,
            ),
            Verdict(
                f"{self.mode}: every refusal a 429",
                f"{of_429:.2%} of {refusals}; {failed} failed at the client",
                of_429 == 1.0 and not failed,
            ),
            Verdict(
                f"{self.mode}: refused within {REFUSAL_MS:g} ms, at the 99th percentile",
                f"p50 {ms(_percentile(refused_ms, 50))}, p99 {ms(refused_p99_ms)} ms",
                refused_p99_ms <= REFUSAL_MS,
            ),
            Verdict(f"{self.mode}: no 5xx", f"{fails}; by status {self.statuses}", not fails),
            Verdict(
                f"{self.mode}: p99 of the admitted within the deadline of {deadline_ms} ms",
                f"{ms(admitted_p99_ms)} ms",
                admitted_p99_ms <= deadline_ms,
            ),
            Verdict(
                f"{self.mode}: memory flat, within {GROWTH:.0%} of where it was with a full queue",
                f"{self.rss_mb[0][1]:.0f} MB at the start, {settled:.0f} after {FULL_S:g} s, "
                f"{last:.0f} at the end",
                last <= settled * (1 + GROWTH),
            ),
        ]

    def _taken_ms(self, status: int) -> NDArray[np.float64]:
        """Milliseconds from sending to the answer, for every request with this status."""
        of_each = [_taken_ms(s.records.where(s.records.status == status)) for s in self.stretches]
        return np.concatenate(of_each)

    def rows(self) -> list[tuple[str, ...]]:
        """The table's rows, in the order of time."""
        rows = [self._closed_row(self.stretches[0].before)]
        for stretch in self.stretches:
            rows.append(
                (
                    self.mode,
                    "overload",
                    f"{stretch.over.step.answered_per_second:.1f}",
                    f"{stretch.good_per_second:.1f}",
                    f"{stretch.refused_per_second:.1f}",
                    f"{stretch.server_cores:.2f}",
                    f"{stretch.over.client_cores:.2f}",
                )
            )
            rows.append(self._closed_row(stretch.after))
        return rows

    def _closed_row(self, run: Run) -> tuple[str, ...]:
        rate = f"{run.step.answered_per_second:.1f}"
        return self.mode, "closed loop", rate, "", "", "", f"{run.client_cores:.2f}"

    def data(self) -> dict[str, Any]:
        """For the JSON."""
        return {
            "mode": self.mode,
            "stretches": [
                {
                    "capacity_before_per_second": s.before.step.answered_per_second,
                    "capacity_after_per_second": s.after.step.answered_per_second,
                    "offered_per_second": TIMES * s.before.step.answered_per_second,
                    "goodput_per_second": s.good_per_second,
                    "goodput": s.goodput,
                    "goodput_client_elsewhere": s.elsewhere,
                    "client_limited": s.over.step.client_limited,
                    "lateness_p99_ms": s.over.step.lateness_p99_ms,
                }
                for s in self.stretches
            ],
            "statuses": {str(status): n for status, n in self.statuses.items()},
            "rss_mb": [[round(at, 2), round(mb, 2)] for at, mb in self.rss_mb],
        }


def _taken_ms(records: Records) -> NDArray[np.float64]:
    return (records.done_s - records.sent_s) * 1e3


def _left(run: Run) -> float:
    """Cores that the client left to the server."""
    return usable_cores() - run.client_cores


def _spread(shares: Sequence[float]) -> str:
    return f"{np.median(shares):.0%} [{min(shares):.0%}, {max(shares):.0%}]"


def _percentile(samples: NDArray[np.float64], percent: float) -> float:
    return percentile(samples, percent) if samples.size else 0.0
