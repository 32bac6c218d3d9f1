"""How many images the cores can take in: the service with a graph that reads no pixels.

The graph answers at once. So everything else of a request is measured: HTTP, decoding, resizing,
views, queue, answer. The figures say how fast a GPU could be fed. The client runs on the same
cores.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

from benchmarks.peers.roster import ROOT
from benchmarks.service.client import client
from benchmarks.service.null_package import null_package
from benchmarks.service.report import Verdict, write
from benchmarks.service.server import Server, serving
from benchmarks.turns import in_turns
from service.bench.image_size import PHONE, STANDARD, ImageSize
from service.bench.photos import Photos, drawn
from service.bench.report.statistics import Interval, paired_ratio
from service.bench.report.tables import ReportTable
from service.package.manifest import Mode
from service.package.package import ModelPackage

SIZES = (ImageSize(224, 224), STANDARD, PHONE)
MODES: tuple[Mode, ...] = ("none", "five_crop")
FIVE_CROP, TAIL, PROCESSES = 0.9, 3.0, 1.0


@dataclass(frozen=True)
class Case:
    """Images of one size in one mode, answered by so many server processes."""

    images: str
    mode: Mode
    workers: int
    before: bool = False
    """Answered by the code of another checkout, with which this one is compared."""

    def __str__(self) -> str:
        code = ", the other checkout" if self.before else ""
        return f"{self.images} {self.mode}, {self.workers} process(es){code}"


@dataclass(frozen=True)
class Sample:
    """One case in one round."""

    images_per_second: float
    images_per_core_second: float
    """Images per second of processor time of all server processes."""
    p50_ms: float | None
    p99_ms: float | None
    not_answered: int
    client_cores: float


Samples = dict[Case, list[Sample]]


def measure(
    package: ModelPackage, given: dict[str, Photos], out: Path, logs: Path, *,
    workers: Sequence[int], rounds: int, seconds: float, minutes: float, users: int,
    processes: int, against: Path | None = None,
) -> bool:  # fmt: skip
    """Measure every case once a round, in a new order each round, for at most `minutes`.

    `against` is another checkout of Quincunx, whose server takes turns with this one's. `given`
    has images by their names; without any, the three standard sizes are drawn. Whatever was
    measured is written when the time is over, or when the run is ended.
    """
    over = time.monotonic() + 60 * minutes
    groups = given or {str(size): drawn(size, 0) for size in SIZES}
    samples: Samples = {}
    codes = {False: ROOT} if against is None else {False: ROOT, True: against.resolve()}
    cases = [Case(name, mode, n, b) for name, mode, n, b in product(groups, MODES, workers, codes)]
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        packages = {
            before: null_package(package, Path(scratch) / str(before), oldest=before).folder
            for before in codes
        }
        servers = {
            (n, before): stack.enter_context(
                serving(
                    packages[before],
                    "fp32",
                    logs / f"intake-{n}{'-before' if before else ''}.log",
                    workers=n,
                    checkout=checkout,
                )
            )
            for n in workers
            for before, checkout in codes.items()
        }
        try:
            for number, case in in_turns(cases, range(rounds)):
                if time.monotonic() + seconds > over:
                    print(f"{minutes:g} minutes are over in round {number + 1}", file=sys.stderr)
                    break
                sample = _served(
                    servers[case.workers, case.before],
                    groups[case.images],
                    case.mode,
                    seconds,
                    users,
                    processes,
                )
                samples.setdefault(case, []).append(sample)
                print(
                    f"{number + 1}/{rounds} {case}: {sample.images_per_second:.1f}/s",
                    file=sys.stderr,
                )
        finally:
            conditions = [
                *(f"images: {group.description}" for group in groups.values()),
                f"{_rounds(samples)} rounds of {seconds:g} s for each case, in a new order each "
                f"round; {users} users in a closed loop, {processes} client process(es) on the "
                "same cores",
                "the graph answers at once and reads no pixels; everything else is the service",
                "rates and latencies are medians over rounds; ratios are of rates within rounds, "
                "95% by the block bootstrap",
            ]
            in_order = {case: samples[case] for case in cases if case in samples}
            kept = _write(package, out, conditions, cases, in_order)
    return kept


def _served(
    server: Server, photos: Photos, mode: Mode, seconds: float, users: int, processes: int
) -> Sample:
    with client(server.classify_url, photos, mode, processes=processes) as asking:
        cpu = server.cpu_s()
        run = asking.closed(users, seconds)
        cores = (server.cpu_s() - cpu) / run.wall_s
    step, latency = run.step, run.step.latency
    return Sample(
        images_per_second=step.answered_per_second,
        images_per_core_second=step.answered_per_second / max(cores, 1e-9),
        p50_ms=latency.p50_ms if latency else None,
        p99_ms=latency.p99_ms if latency else None,
        not_answered=step.failed + step.refused,
        client_cores=run.client_cores,
    )


def verdicts(samples: Samples) -> list[Verdict]:
    """The promises, of the cases that were measured."""
    found: list[Verdict] = []
    for case, taken in samples.items():
        if case.before:
            continue
        name = str(case)
        single = samples.get(Case(case.images, "none", case.workers))
        if case.mode == "five_crop" and single:
            found.append(_at_least(f"{name}: ≥ {FIVE_CROP:g} of none", taken, single, FIVE_CROP))
        alone = samples.get(Case(case.images, case.mode, 1))
        if case.workers > 1 and alone:
            found.append(_at_least(f"{name}: ≥ {PROCESSES:g} of one", taken, alone, PROCESSES))
        tails = [s.p99_ms / s.p50_ms for s in taken if s.p50_ms and s.p99_ms]
        tail = statistics.median(tails) if tails else float("inf")
        found.append(Verdict(f"{name}: p99 ≤ {TAIL:g} × p50", f"{tail:.2f}", tail <= TAIL))
    return found


def _at_least(
    promise: str, taken: Sequence[Sample], base: Sequence[Sample], target: float
) -> Verdict:
    ratio = _ratio(taken, base)
    return Verdict(promise, str(ratio), ratio.value >= target)


def compared(samples: Samples) -> ReportTable:
    """The rates of this checkout, against those of the other one in the same rounds."""
    pairs = [(case, samples.get(replace(case, before=True))) for case in samples if not case.before]
    rows = tuple((str(c), str(_ratio(samples[c], base))) for c, base in pairs if base)
    return ReportTable("Against the other checkout", ("case", "× images/s [95%]"), rows)


def _ratio(taken: Sequence[Sample], base: Sequence[Sample]) -> Interval:
    both = min(len(taken), len(base))  # the last round may have ended before one of both
    return paired_ratio(
        [sample.images_per_second for sample in taken[:both]],
        [sample.images_per_second for sample in base[:both]],
    )


def _rounds(samples: Samples) -> str:
    counts = sorted({len(taken) for taken in samples.values()}) or [0]
    return " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))


def _write(
    package: ModelPackage, out: Path, conditions: list[str], cases: Sequence[Case], samples: Samples
) -> bool:
    missing = [case for case in cases if case not in samples]
    if missing:
        conditions.append(f"{len(missing)} of {len(cases)} cases were not measured in the time")
    header = (
        "case", "images/s", "images/s per core", "p50 ms", "p99 ms",
        "not answered", "cores of the client",
    )  # fmt: skip
    rows = tuple(_row(case, taken) for case, taken in samples.items())
    data = [
        {**asdict(case), "rounds": [asdict(sample) for sample in taken]}
        for case, taken in samples.items()
    ]
    table = ReportTable("What the cores take in", header, rows)
    others = [compared(samples)] if any(case.before for case in samples) else []
    kept = write(
        out, "intake", package, conditions, verdicts(samples), [table, *others], {"samples": data}
    )
    return kept and not missing


def _row(case: Case, taken: Sequence[Sample]) -> tuple[str, ...]:
    def median(name: str) -> float | None:
        values = [v for v in (getattr(sample, name) for sample in taken) if v is not None]
        return statistics.median(values) if values else None

    def shown(name: str, digits: int = 1) -> str:
        value = median(name)
        return "none" if value is None else f"{value:.{digits}f}"

    return (
        str(case), shown("images_per_second"),
        shown("images_per_core_second"), shown("p50_ms"), shown("p99_ms"),
        str(sum(sample.not_answered for sample in taken)), shown("client_cores", 2),
    )  # fmt: skip
