"""The report on peers: every load, and ratios of Quincunx to each peer with intervals."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.bench.report.statistics import Interval, paired_ratio, percentile
from service.bench.report.tables import ReportTable, ms
from service.package.manifest import Mode, Precision

FIVE_CROP: Mode = "five_crop"
RESAMPLES = 1000


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
    latencies_ms: tuple[float, ...]
    """Latencies of the answered requests."""
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
        f"{facts['seconds']:g} s for each load; images/s and p50 are medians over the rounds "
        "[least, most], p99 is of all requests of all rounds. The open loop offers each contender "
        "a share of its own throughput, so a faster one is offered more; its latency counts from "
        "the time a request was due. All servers were up all the time, and stopped (SIGSTOP) but "
        "for the one whose turn it was.",
        "",
        table(measured).markdown(),
        "",
        "## Quincunx against each peer",
        "",
        "Ratios of images/s are taken within rounds, where the contenders of one precision follow "
        "each other within seconds; p99 is compared over all rounds. 95% by the bootstrap over "
        "rounds. Above 1: more images; below 1: a shorter wait.",
        "",
        against(measured, ours).markdown(),
    ]
    if limited:
        lines += ["", f"The client was the limit for: {', '.join(limited)}."]
    return "\n".join(lines) + "\n"


def table(measured: Sequence[Measured]) -> ReportTable:
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
                for value in (lambda m: m.answered_per_second, lambda m: m.p50_ms)
            ]
            mine = [m for m in measured if (m.contender, m.load) == (one, load)]
            pooled = [latency for m in mine for latency in m.latencies_ms]
            cells.append(ms(percentile(pooled, 99)) if pooled else "–")
        cells.append(str(sum(m.not_answered for m in measured if m.contender == one)))
        rows.append(tuple(cells))
    columns = [f"{load}: {what}" for load in loads for what in ("images/s", "p50 ms", "p99 ms")]
    header = ("system", "precision", "mode", *columns, "not answered")
    return ReportTable("Quincunx and its peers", header, tuple(rows))


def against(measured: Sequence[Measured], ours: str) -> ReportTable:
    """Ratios of Quincunx to each peer: images per second at saturation, p99 under the open loop.

    In exact five-crop the precision is the same. Other modes of Quincunx are compared with the
    peers' fp32.
    """
    loads = list(dict.fromkeys(item.load for item in measured))
    by: dict[tuple[Contender, str], list[Measured]] = {}
    for item in sorted(measured, key=lambda m: m.round):
        by.setdefault((item.contender, item.load), []).append(item)
    entered = list(dict.fromkeys(item.contender for item in measured))
    rows: list[tuple[str, ...]] = []
    for mine in (one for one in entered if one.system == ours):
        precision = mine.precision if mine.mode == FIVE_CROP else "fp32"
        for peer in entered:
            if peer.system == ours or (peer.precision, peer.mode) != (precision, FIVE_CROP):
                continue
            rates = ([m.answered_per_second for m in by[one, loads[-2]]] for one in (mine, peer))
            tails = ([m.latencies_ms for m in by[one, loads[-1]]] for one in (mine, peer))
            rows.append(
                (mine.precision, mine.mode, str(peer), str(paired_ratio(*rates)),
                 str(_tail_ratio(*tails)))
            )  # fmt: skip
    header = ("precision", "mode", "against", f"× images/s ({loads[-2]})", f"× p99 ({loads[-1]})")
    return ReportTable("Quincunx against each peer", header, tuple(rows))


def _tail_ratio(ours: Sequence[tuple[float, ...]], theirs: Sequence[tuple[float, ...]]) -> Interval:
    """Our p99 over theirs, of all rounds; the 95% interval draws rounds with replacement."""

    def ratio(rounds: Sequence[int]) -> float:
        tails = (np.concatenate([own[number] for number in rounds]) for own in (ours, theirs))
        mine, its = (percentile(tail, 99) if tail.size else np.nan for tail in tails)
        return float(mine / its)

    draws = np.random.default_rng(0).integers(0, len(ours), (RESAMPLES, len(ours)))
    low, high = np.nanpercentile([ratio(list(rounds)) for rounds in draws], (2.5, 97.5))
    return Interval(ratio(range(len(ours))), float(low), float(high))


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
