"""A server that has answered many requests against one that has just started.

The machine itself becomes faster and slower during a soak. So the end of a soak is not compared
with its beginning, but with a fresh server of the same package: both run, and slices of load take
turns.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.service.client import Client
from benchmarks.service.report import Verdict
from benchmarks.service.server import Server
from benchmarks.turns import in_turns
from service.bench.report.statistics import Interval, paired_ratio, percentile
from service.bench.report.tables import ReportTable, ms

PAIRS = 16
SLICE_S = 5.0
WARM_UP_S = 20.0
"""How long the fresh server gets load before the first slice, so that it has seen every image."""
SLOWER = 1.05
"""The old server may take so many times as long as the fresh one."""
Lap = tuple["Slice", "Slice"]
"""A slice of the old server and a slice of the fresh one, one directly after the other."""


@dataclass(frozen=True)
class Slice:
    """What one server did in a few seconds."""

    per_second: float
    p99_ms: float
    cpu_ms: float
    """Processor time of the server for each answered request."""


@dataclass
class Aging:
    """The slices of both servers."""

    laps: list[Lap] = field(default_factory=list[Lap])
    unanswered: int = 0

    def ratio(self, cost: Callable[[Slice], float]) -> Interval:
        """How much more the old server costs, from pairs of slices."""
        old, fresh = ([cost(lap[which]) for lap in self.laps] for which in (0, 1))
        return paired_ratio(old, fresh)


def compare(old: tuple[Server, Client], fresh: tuple[Server, Client], users: int) -> Aging:
    """Slices of load of `users` for both, in an order drawn anew for each pair.

    Raises:
        SystemExit: a server answers nothing in a slice.
    """
    taken: dict[str, list[Slice]] = {"old": [], "fresh": []}
    unanswered = 0
    fresh[1].closed(users, WARM_UP_S)
    for number, name in in_turns(taken, range(PAIRS)):
        server, asking = old if name == "old" else fresh
        slice_, missing = _slice(server, asking, users)
        taken[name].append(slice_)
        unanswered += missing
        print(f"pair {number + 1} of {PAIRS}, the {name} server", file=sys.stderr)
    return Aging(list(zip(taken["old"], taken["fresh"], strict=True)), unanswered)


def _slice(server: Server, asking: Client, users: int) -> tuple[Slice, int]:
    cpu_s = server.cpu_s()
    run = asking.closed(users, SLICE_S, warm_up_s=0.0)
    cpu_s = server.cpu_s() - cpu_s
    latency_ms = run.latency_ms
    count = len(latency_ms)
    if not count:
        raise server.silent()
    slice_ = Slice(count / run.wall_s, percentile(latency_ms, 99), cpu_s / count * 1e3)
    return slice_, len(run.answered) - count


def verdicts(aging: Aging) -> list[Verdict]:
    """The promises: neither the tail nor the work of a request grows with a server's age."""
    costs: dict[str, Callable[[Slice], float]] = {
        "p99": lambda one: one.p99_ms,
        "processor time of a request": lambda one: one.cpu_ms,
    }
    found: list[Verdict] = []
    for name, cost in costs.items():
        ratio = aging.ratio(cost)
        promise = f"{name} after the soak ≤ {SLOWER:g} × that of a fresh server"
        measured = f"{ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"
        found.append(Verdict(promise, measured, ratio.value <= SLOWER))
    return found


def table(aging: Aging) -> ReportTable:
    """The means of the slices of both servers."""
    rows: list[tuple[str, ...]] = []
    for which, name in enumerate(("after the soak", "fresh")):
        own = [lap[which] for lap in aging.laps]
        per_second, p99_ms, cpu_ms = (
            sum(values) / len(own)
            for values in zip(*((s.per_second, s.p99_ms, s.cpu_ms) for s in own), strict=True)
        )
        rows.append((name, f"{per_second:.1f}", ms(p99_ms), f"{cpu_ms:.2f}"))
    return ReportTable(
        f"The same server after the soak, and a fresh one: {PAIRS} pairs of {SLICE_S:g} s",
        ("server", "images/s", "p99 ms", "processor ms for each request"),
        tuple(rows),
    )
