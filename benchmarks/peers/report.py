"""What the peers' table shows: medians over the rounds, and ratios taken within rounds."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from service.bench.tables import Table, ms
from service.inference.manifest import Mode, Precision


@dataclass(frozen=True)
class Contender:
    """A system serving one precision in one mode."""

    system: str
    precision: Precision
    mode: Mode

    def __str__(self) -> str:
        return f"{self.system} {self.precision} {self.mode}"


@dataclass(frozen=True)
class Measured:
    """One contender under one kind of load in one round."""

    contender: Contender
    round: int
    load: str
    offered_per_second: float | None
    answered_per_second: float
    p50_ms: float | None
    p99_ms: float | None
    not_answered: int
    client_limited: str | None


Value = Callable[[Measured], float | None]


def markdown(facts: dict[str, Any], measured: Sequence[Measured], ours: str) -> str:
    """The whole report."""
    machine, package = facts["environment"], facts["package"]
    limited = sorted({str(m.contender) for m in measured if m.client_limited})
    lines = [
        "# Quincunx and its peers",
        "",
        f"`{facts['command']}`",
        "",
        f"{machine['taken_at']}, {machine['cpu']}, {machine['cores']} cores, client included; "
        f"{package['name']}@{package['version']}; {facts['images']}. {facts['rounds']} rounds, "
        f"{facts['seconds']:g} s for each load; medians over the rounds [least, most]. The open "
        "loop offers each contender a share of its own throughput, so a faster one is offered "
        "more; its latency counts from the time a request was due.",
        "",
        table(measured).markdown(),
        "",
        "## Against the best peer in exact five-crop, fp32",
        "",
        against(measured, ours).markdown(),
    ]
    if limited:
        lines += ["", f"The client was the limit for: {', '.join(limited)}."]
    return "\n".join(lines) + "\n"


def table(measured: Sequence[Measured]) -> Table:
    """One row per contender, fastest first."""
    loads = list(dict.fromkeys(item.load for item in measured))
    saturated = loads[-2] if len(loads) > 1 else loads[0]
    entered = sorted(
        dict.fromkeys(item.contender for item in measured),
        key=lambda c: -_median(_of(measured, c, saturated, lambda m: m.answered_per_second)),
    )
    rows: list[tuple[str, ...]] = []
    for one in entered:
        cells = [one.system, one.precision, one.mode]
        for load in loads:
            cells += [
                _spread(_of(measured, one, load, value))
                for value in (
                    lambda m: m.answered_per_second,
                    lambda m: m.p50_ms,
                    lambda m: m.p99_ms,
                )
            ]
        cells.append(str(sum(m.not_answered for m in measured if m.contender == one)))
        rows.append(tuple(cells))
    columns = [f"{load}: {what}" for load in loads for what in ("images/s", "p50 ms", "p99 ms")]
    header = ("system", "precision", "mode", *columns, "not answered")
    return Table("Quincunx and its peers", header, tuple(rows))


def against(measured: Sequence[Measured], ours: str) -> Table:
    """Images per second at saturation and p99 under the open loop, as ratios within rounds.

    The best peer is the one with the most images per second (or the least p99) of that round.
    """
    loads = list(dict.fromkeys(item.load for item in measured))
    peers = [
        m
        for m in measured
        if m.contender.system != ours and str(m.contender).endswith("fp32 five_crop")
    ]
    rows: list[tuple[str, ...]] = []
    for one in dict.fromkeys(m.contender for m in measured if m.contender.system == ours):
        rate: list[float | None] = []
        tail: list[float | None] = []
        for number in sorted({m.round for m in peers}):
            others = [m for m in peers if m.round == number]
            mine = [m for m in measured if m.contender == one and m.round == number]
            fastest = max(m.answered_per_second for m in others if m.load == loads[-2])
            rate += [m.answered_per_second / fastest for m in mine if m.load == loads[-2]]
            tails = [m.p99_ms for m in others if m.load == loads[-1] and m.p99_ms]
            tail += [m.p99_ms / min(tails) for m in mine if m.load == loads[-1] and m.p99_ms]
        rows.append((one.precision, one.mode, _spread(rate), _spread(tail)))
    header = ("precision", "mode", f"× images/s ({loads[-2]})", f"× p99 ({loads[-1]})")
    return Table("Against the best peer", header, tuple(rows))


def _of(
    measured: Sequence[Measured], one: Contender, load: str, value: Value
) -> list[float | None]:
    return [value(m) for m in measured if (m.contender, m.load) == (one, load)]


def _median(values: Sequence[float | None]) -> float:
    return statistics.median([value for value in values if value is not None] or [0.0])


def _spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    middle = ms(statistics.median(known))
    return middle if len(known) == 1 else f"{middle} [{ms(min(known))}, {ms(max(known))}]"
