"""Images per second at saturation, compared with bare decoding and inference on the same cores."""

import random
import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.service.bare import LOOPS, Bare
from benchmarks.service.client import client
from benchmarks.service.report import Verdict, write
from benchmarks.service.server import Server, serving
from service.bench.photos import Photos
from service.bench.report.statistics import Interval, paired_ratio
from service.bench.report.tables import ReportTable
from service.inference.runtime.cores import usable_cores
from service.package.manifest import Mode, Precision
from service.package.package import ModelPackage

FIVE_CROP, DEFAULT = 0.9, 0.75
SERVICE, PROCESSES = "service", "service, a process a core"


@dataclass(frozen=True)
class Case:
    """A mode of a graph, and the share of the bare loop that the service must reach."""

    mode: Mode
    precision: Precision
    target: float


@dataclass(frozen=True)
class Sample:
    """One contender in one round."""

    images_per_second: float
    client_cores: float = 0.0
    """Cores that the client kept busy, as a mean over the time."""
    server_cores: float = 0.0


def cases(package: ModelPackage) -> list[Case]:
    """Exact five-crop in each precision, the package's default mode, and the single crop."""
    found = [Case("five_crop", precision, FIVE_CROP) for precision in package.precisions]
    fast: Precision = "int8" if "int8" in package.precisions else "fp32"
    for mode in (package.manifest.default_mode, "none"):
        if all((case.mode, case.precision) != (mode, fast) for case in found):
            found.append(Case(mode, fast, DEFAULT))
    return [case for case in found if case.precision in ("fp32", "int8")]


def measure(
    package: ModelPackage, photos: Photos, out: Path, logs: Path, *,
    rounds: int, seconds: float, users: int, processes: int,
) -> bool:  # fmt: skip
    """Run every contender of every case once a round, in a new random order; then write."""
    cores = usable_cores()
    wanted = cases(package)
    samples: dict[Case, dict[str, list[Sample]]] = {}
    with ExitStack() as stack:
        servers = {
            (precision, name): stack.enter_context(
                serving(
                    package.folder, precision, logs / f"saturation-{precision}-{workers}.log",
                    workers=workers,
                )
            )
            for precision in dict.fromkeys(case.precision for case in wanted)
            for name, workers in ((SERVICE, 1), (PROCESSES, cores))
        }  # fmt: skip
        bares = {
            case: Bare(package.folder, case.precision, case.mode, photos.files, cores)
            for case in wanted
        }
        names = (SERVICE, PROCESSES, *LOOPS)
        order = random.Random(0)
        for number in range(rounds):
            # Compared contenders run next to each other: a machine's speed changes within minutes.
            turns = [
                (case, name)
                for case in order.sample(wanted, len(wanted))
                for name in order.sample(names, len(names))
            ]
            for case, name in turns:
                if name in (SERVICE, PROCESSES):
                    server = servers[case.precision, name]
                    sample = _served(server, case.mode, photos, seconds, users, processes)
                else:
                    sample = Sample(LOOPS[name](bares[case], seconds))
                samples.setdefault(case, {}).setdefault(name, []).append(sample)
                print(
                    f"{number + 1}/{rounds} {case.mode} {case.precision} {name}: "
                    f"{sample.images_per_second:.1f}/s",
                    file=sys.stderr,
                )
    return _write(package, photos, out, samples, cores, seconds, users, processes)


def _served(
    server: Server, mode: Mode, photos: Photos, seconds: float, users: int, processes: int
) -> Sample:
    with client(server.classify_url, photos, mode, processes=processes) as asking:
        cpu = server.cpu_s()
        run = asking.closed(users, seconds)
        server_cpu = server.cpu_s() - cpu
    return Sample(run.step.answered_per_second, run.client_cores, server_cpu / run.wall_s)


def best_loop(by_name: dict[str, list[Sample]]) -> str:
    """The fastest bare loop."""
    return max(LOOPS, key=lambda name: _median(by_name[name]))


def _median(samples: Sequence[Sample]) -> float:
    return statistics.median(sample.images_per_second for sample in samples)


def _ratio(
    by_name: dict[str, list[Sample]], loop: str, cores: int, *, adjusted: bool, of: str = SERVICE
) -> Interval:
    """Service to loop, round by round; adjusted: as if the client had run on other cores."""
    served = [
        s.images_per_second * (cores / (cores - s.client_cores) if adjusted else 1)
        for s in by_name[of]
    ]
    return paired_ratio(served, [s.images_per_second for s in by_name[loop]])


def _write(
    package: ModelPackage, photos: Photos, out: Path,
    samples: dict[Case, dict[str, list[Sample]]], cores: int,
    seconds: float, users: int, processes: int,
) -> bool:  # fmt: skip
    verdicts: list[Verdict] = []
    rows: list[tuple[str, ...]] = []
    ratios: list[dict[str, object]] = []
    for case, by_name in samples.items():
        best = best_loop(by_name)
        for loop in LOOPS:
            raw = _ratio(by_name, loop, cores, adjusted=False)
            adjusted = _ratio(by_name, loop, cores, adjusted=True)
            divided = _ratio(by_name, loop, cores, adjusted=False, of=PROCESSES)
            ratios.append(
                {
                    "mode": case.mode, "precision": case.precision, "loop": loop,
                    "ratio": asdict(raw), "ratio_client_elsewhere": asdict(adjusted),
                    "ratio_a_process_a_core": asdict(divided),
                }
            )  # fmt: skip
            rows.append(
                (
                    case.mode,
                    case.precision,
                    loop + (" (fastest)" if loop == best else ""),
                    f"{_median(by_name[loop]):.1f}",
                    f"{_median(by_name[SERVICE]):.1f}",
                    str(raw),
                    str(adjusted),
                    f"{_median(by_name[PROCESSES]):.1f}",
                    str(divided),
                )
            )
        raw = _ratio(by_name, best, cores, adjusted=False)
        adjusted = _ratio(by_name, best, cores, adjusted=True)
        plain = _ratio(by_name, "one after another", cores, adjusted=False)
        verdicts.append(
            Verdict(
                f"{case.mode} {case.precision}: ≥ {case.target:g}× the fastest bare loop ({best})",
                f"{raw}; client elsewhere {adjusted}; × one after another {plain}",
                raw.value >= case.target,
            )
        )
    busy = ReportTable(
        f"Cores kept busy while the service was measured, of {cores}, median",
        ("mode", "precision", "server", "client"),
        tuple(
            (
                case.mode,
                case.precision,
                f"{statistics.median(s.server_cores for s in by_name[SERVICE]):.2f}",
                f"{statistics.median(s.client_cores for s in by_name[SERVICE]):.2f}",
            )
            for case, by_name in samples.items()
        ),
    )
    header = (
        "mode", "precision", "bare loop", "bare images/s", "service images/s", "ratio [95%]",
        "client elsewhere", f"--workers {cores} images/s", "ratio [95%]",
    )  # fmt: skip
    rounds = len(next(iter(next(iter(samples.values())).values())))
    return write(
        out,
        "saturation",
        package,
        [
            f"images: {photos.description}",
            f"{rounds} rounds of {seconds:g} s for each contender, in an order drawn anew each "
            f"round, those of one mode after each other; {users} users in a closed loop, "
            f"{processes} client process(es)",
            "ratios are of rates within rounds, median of means, 95% by the block bootstrap",
            "the client runs on the same cores as the server and takes its share of them; "
            "“client elsewhere” multiplies the rate by cores / (cores - those that it kept busy)",
            "bare loops: the same decoder, views and graph without HTTP; "
            "the promise is judged by the raw ratio to the fastest of them",
        ],
        verdicts,
        [ReportTable("Service and bare loops", header, tuple(rows)), busy],
        {
            "ratios": ratios,
            "samples": [
                {
                    "mode": case.mode, "precision": case.precision, "contender": name,
                    "rounds": [asdict(s) for s in taken],
                }
                for case, by_name in samples.items()
                for name, taken in by_name.items()
            ],
        },
    )  # fmt: skip
