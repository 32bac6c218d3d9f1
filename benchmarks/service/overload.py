"""Three times the capacity: what still gets answered, and how the rest is turned away."""

import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.service.client import Run, client
from benchmarks.service.report import Verdict, write
from benchmarks.service.server import Memory, grown, serving
from service.bench.photos import Photos
from service.bench.records import ANSWERED, REFUSED
from service.bench.statistics import percentile
from service.bench.tables import Table, ms
from service.inference.manifest import Mode
from service.inference.package import ModelPackage

TIMES = 3.0
GOODPUT = 0.9
REFUSAL_MS = 50.0
GROWTH = 0.05
"""Memory is flat when it ends within this of where it was under plain load."""
PER_PROCESS = 250


def measure(
    package: ModelPackage, photos: Photos, out: Path, logs: Path, *,
    mode: Mode, precision: str, seconds: float, capacity_seconds: float, deadline_ms: int,
    users: int, processes: int,
) -> bool:  # fmt: skip
    """Find the capacity before and after, offer three times as much in between."""
    with serving(package.folder, precision, logs / "overload.log") as server:
        headers = {"X-Request-Timeout-Ms": str(deadline_ms)}
        connections = processes * PER_PROCESS
        with (
            client(
                server.url, photos, mode, processes=processes, connections=connections,
                headers=headers,
            ) as asking,
            Memory(server, 0.5) as memory,
        ):  # fmt: skip
            before = asking.closed(users, capacity_seconds)
            capacity = before.step.answered_per_second
            print(f"capacity {capacity:.1f}/s", file=sys.stderr)
            rss_before = server.rss_mb()
            counted, started, cpu = server.statuses(), time.monotonic(), server.cpu_s()
            over = asking.opened(TIMES * capacity, seconds, warm_up_s=1.0)
            server_cores = (server.cpu_s() - cpu) / (time.monotonic() - started)
            statuses = grown(server.statuses(), counted)
            after = asking.closed(users, capacity_seconds)
            rss_after = server.rss_mb()
    found = _Figures(over, deadline_ms, 1.0, seconds)
    fails = sum(n for status, n in statuses.items() if status >= 500)
    refusals = sum(n for status, n in statuses.items() if status not in (200,))
    of_429 = statuses.get(429, 0) / refusals if refusals else 1.0
    verdicts = [
        Verdict(
            f"goodput ≥ {GOODPUT:.0%} of the capacity",
            f"{found.good_per_second / capacity:.0%} ({found.good_per_second:.1f} of "
            f"{capacity:.1f}/s)",
            found.good_per_second >= GOODPUT * capacity,
        ),
        Verdict(
            "every refusal a 429",
            f"{of_429:.2%} of {refusals}; {over.step.failed} failed at the client",
            of_429 == 1.0 and not over.step.failed,
        ),
        Verdict(
            f"refused within {REFUSAL_MS:g} ms, at the 99th percentile",
            f"p50 {ms(found.refused_p50_ms)}, p99 {ms(found.refused_p99_ms)} ms",
            found.refused_p99_ms <= REFUSAL_MS,
        ),
        Verdict("no 5xx", f"{fails}; by status {statuses}", not fails),
        Verdict(
            f"p99 of the admitted within the deadline of {deadline_ms} ms",
            f"{ms(found.admitted_p99_ms)} ms",
            found.admitted_p99_ms <= deadline_ms,
        ),
        Verdict(
            f"memory flat: within {GROWTH:.0%} of before, once it is over",
            f"{rss_before:.0f} MB before, {memory.most_mb:.0f} at most, {rss_after:.0f} after",
            rss_after <= rss_before * (1 + GROWTH),
        ),
    ]
    rows = [
        ("before: closed loop", f"{capacity:.1f}", "", "", _cores(before)),
        (
            "overload",
            f"{over.step.answered_per_second:.1f}",
            f"{found.good_per_second:.1f}",
            f"{found.refused_per_second:.1f}",
            _cores(over),
        ),
        ("after: closed loop", f"{after.step.answered_per_second:.1f}", "", "", _cores(after)),
    ]
    return write(
        out,
        "overload",
        package,
        [
            f"images: {photos.description}",
            f"{mode}, {precision}; Poisson arrivals at {TIMES:g} × the capacity for {seconds:g} s; "
            f"deadline {deadline_ms} ms (X-Request-Timeout-Ms)",
            f"{processes} client processes on the server's machine: what they need to offer "
            "three times the load is taken from the server, and so from the goodput",
            "latency is from when a request was sent; goodput counts answers within the deadline",
            f"the server kept {server_cores:.2f} cores busy; the client was late in sending by "
            f"{ms(over.step.lateness_p99_ms)} ms at p99",
        ],
        verdicts,
        [
            Table(
                "Per second",
                ("load", "answered", "in time", "refused", "client cores"),
                tuple(rows),
            )
        ],
        {
            "capacity_per_second": capacity,
            "capacity_after_per_second": after.step.answered_per_second,
            "offered_per_second": TIMES * capacity,
            "statuses": {str(status): n for status, n in statuses.items()},
            "rss_mb": [[round(at, 2), round(mb, 2)] for at, mb in memory.samples],
            "client_limited": over.step.client_limited,
        },
    )


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


def _cores(run: Run) -> str:
    return f"{run.client_cpu_s / run.wall_s:.2f}"
