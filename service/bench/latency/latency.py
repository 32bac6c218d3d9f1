"""`quincunx bench latency`: the cost of each mode, in one process, without HTTP.

Every round times every case once, on the same images, in a new random order. So a machine that
slows down slows all cases alike, and a ratio within one round is not affected. The single crop runs
a second time in each round as a control. Its ratio to itself should be 1; its distance from 1 shows
how much noise every other ratio has.
"""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import inf
from pathlib import Path
from random import Random
from time import perf_counter

import numpy as np

from service.bench.environment import environment, identity
from service.bench.latency.noise import notes
from service.bench.latency.phases import Timed, run_batch
from service.bench.photos import Photos
from service.bench.report.results import (
    PHASES,
    Case,
    CaseResult,
    LatencyReport,
    Phase,
    Summary,
)
from service.bench.report.statistics import Interval, paired_ratio
from service.errors import UsageError
from service.inference.predictor import Predictor
from service.inference.runtime.providers import Provider
from service.inference.tta.steps import Options
from service.package.manifest import Mode, Precision
from service.package.package import ModelPackage


@dataclass(frozen=True)
class LatencyPlan:
    """What to time, and for how long."""

    modes: tuple[Mode, ...]
    precisions: tuple[Precision, ...]
    batches: tuple[int, ...]
    seconds: float = 60.0
    min_rounds: int = 20
    max_rounds: int = 2000
    warm_up_rounds: int = 3
    seed: int = 0

    @property
    def cases(self) -> tuple[Case, ...]:
        """Every combination. The single crop always runs, with its control."""
        modes: tuple[Mode, ...] = ("none", *(mode for mode in self.modes if mode != "none"))
        cases: list[Case] = []
        for precision, batch in product(self.precisions, self.batches):
            cases += [Case(precision=precision, mode=m, batch_images=batch) for m in modes]
            cases.append(Case(precision=precision, mode="none", batch_images=batch, control=True))
        return tuple(cases)

    def check(self) -> None:
        """Raises UsageError if the plan measures nothing."""
        if not (self.modes and self.precisions and self.batches):
            raise UsageError("bench latency needs at least one mode, precision and batch size")
        if min(self.batches) < 1 or self.min_rounds < 2:
            raise UsageError("batch sizes must be positive, and rounds 2 or more")
        if not 0 < self.seconds < inf:
            raise UsageError(f"seconds must be a positive number, but got {self.seconds:g}")
        if "custom" in self.modes:
            raise UsageError("custom has no boxes here; bench latency times the named modes")


Run = Callable[[Case, Sequence[bytes]], Timed]


def bench_latency(
    folder: Path,
    plan: LatencyPlan,
    images: Photos,
    *,
    provider: Provider = "auto",
    threads: int = 0,
    progress: Callable[[int, float], None] = lambda _rounds, _seconds: None,
) -> LatencyReport:
    """Time every case of `plan` on a model package.

    Raises:
        UsageError: a plan that times nothing, or a mode that the package cannot run.
        ModelPackageError: the package is unsound, or lacks a precision.
    """
    plan.check()
    described = environment()
    predictors = {
        precision: Predictor.from_package(
            folder, precision=precision, provider=provider, threads=threads
        )
        for precision in plan.precisions
    }

    def run(case: Case, files: Sequence[bytes]) -> Timed:
        return run_batch(files, Options(tta=case.mode), predictors[case.precision])

    rounds = measure(plan, images.files, run, progress)
    results = summarize(plan, rounds)
    package = ModelPackage.load(folder)
    return LatencyReport(
        environment=described,
        package=identity(package),
        provider=next(iter(predictors.values())).session.provider,
        threads=threads or described.cores,
        images=images.description,
        rounds=len(rounds.order),
        warm_up_rounds=plan.warm_up_rounds,
        seconds=rounds.seconds,
        seed=plan.seed,
        cases=results,
        accuracy=package.manifest.metrics,
        notes=tuple(notes(results)),
    )


@dataclass(frozen=True)
class Rounds:
    """Every sample: `samples[case]` has one per round, in order."""

    samples: dict[Case, list[Timed]]
    order: list[tuple[Case, ...]]
    seconds: float


def measure(
    plan: LatencyPlan,
    files: Sequence[bytes],
    run: Run,
    progress: Callable[[int, float], None],
    now: Callable[[], float] = perf_counter,
) -> Rounds:
    """Warm up, then run rounds until the time is up, `min_rounds` to `max_rounds` of them."""
    random = Random(plan.seed)
    cases = plan.cases
    for _, case in product(range(plan.warm_up_rounds), cases):
        run(case, _batch(files, 0, case.batch_images))
    gc.collect()
    gc.freeze()  # the measurement should not collect objects from start-up
    samples: dict[Case, list[Timed]] = {case: [] for case in cases}
    order: list[tuple[Case, ...]] = []
    start = now()
    try:
        while len(order) < plan.max_rounds:
            turn = tuple(random.sample(cases, len(cases)))
            for case in turn:
                samples[case].append(run(case, _batch(files, len(order), case.batch_images)))
            order.append(turn)
            elapsed = now() - start
            progress(len(order), elapsed)
            if elapsed >= plan.seconds and len(order) >= plan.min_rounds:
                break
    finally:
        gc.unfreeze()
    return Rounds(samples, order, now() - start)


def summarize(plan: LatencyPlan, rounds: Rounds) -> tuple[CaseResult, ...]:
    """Turn samples into results. Every case is compared with its own single crop."""
    columns = {case: _columns(timed) for case, timed in rounds.samples.items()}
    results: list[CaseResult] = []
    for case, phases in columns.items():
        base = case.model_copy(update={"mode": "none", "control": False})
        ratio = without_decode = None
        if case != base:
            ratio = _ratio(phases, columns[base], PHASES, plan.seed)
            without_decode = _ratio(phases, columns[base], PHASES[1:], plan.seed)
        totals = _totals(phases, PHASES)
        total = Summary.of(totals.tolist())
        results.append(
            CaseResult(
                case=case,
                total=total,
                images_per_second=case.batch_images / total.mean_ms * 1e3,
                passes_per_image=float(np.mean([timed.passes for timed in rounds.samples[case]]))
                / case.batch_images,
                phases_ms={phase: float(np.median(phases[phase])) for phase in PHASES},
                ratio=ratio,
                ratio_without_decode=without_decode,
                samples_ms={phase: np.round(phases[phase], 4).tolist() for phase in PHASES},
            )
        )
    return tuple(results)


def _batch(files: Sequence[bytes], round_index: int, count: int) -> list[bytes]:
    """The images of a round: the same for every case, and the next ones in the next round."""
    return [files[(round_index * count + i) % len(files)] for i in range(count)]


Columns = dict[Phase, np.ndarray[tuple[int], np.dtype[np.float64]]]


def _columns(timed: Sequence[Timed]) -> Columns:
    return {phase: np.array([t.phases_ms[phase] for t in timed]) for phase in PHASES}


def _totals(
    phases: Columns, which: Sequence[Phase]
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.sum([phases[phase] for phase in which], axis=0)


def _ratio(phases: Columns, base: Columns, which: Sequence[Phase], seed: int) -> Interval:
    return paired_ratio(_totals(phases, which), _totals(base, which), seed=seed)
