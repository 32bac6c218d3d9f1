"""`quincunx bench compare`: which differences between two runs are real.

Many comparisons are made at once, so each interval is widened (Bonferroni). For two equal runs, the
whole table then shows no difference 19 times in 20. An interval does not include what changed
between the runs (a hotter room, another process). So costs are compared in single crops too, where
a slower machine cancels out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.bench.environment import Environment
from service.bench.load.search import TOLERANCE
from service.bench.report.results import Case, CaseResult, LatencyReport, LoadReport, LoadStep
from service.bench.report.statistics import (
    CONFIDENCE,
    Interval,
    percentile_ratio,
    ratio_across_runs,
    ratio_of_ratios,
)
from service.bench.report.tables import ReportTable
from service.errors import UsageError
from service.package.manifest import Mode

TOGETHER = 0.03
"""If the changes of all cases are this close to each other, the machine itself changed."""


@dataclass(frozen=True)
class Difference:
    """B against A: above 1, B takes longer."""

    what: str
    measure: str
    ratio: Interval

    @property
    def real(self) -> bool:
        return self.ratio.excludes(1.0)

    @property
    def verdict(self) -> str:
        if not self.real:
            return "no difference shown"
        return "B takes more" if self.ratio.value > 1 else "B takes less"


@dataclass(frozen=True)
class Comparison:
    """Every difference, and notes for the reader."""

    differences: tuple[Difference, ...]
    notes: tuple[str, ...]

    def table(self) -> ReportTable:
        return ReportTable(
            "B against A",
            ("what", "measure", "B / A", "interval", "verdict"),
            tuple(
                (
                    difference.what,
                    difference.measure,
                    f"{difference.ratio.value:.3f}",
                    f"{difference.ratio.low:.3f} to {difference.ratio.high:.3f}",
                    difference.verdict,
                )
                for difference in self.differences
            ),
        )


Report = LatencyReport | LoadReport


def compare(a: Report, b: Report) -> Comparison:
    """Compare two results files of the same kind.

    Raises:
        UsageError: they are of different kinds, or have nothing in common.
    """
    if isinstance(a, LatencyReport) and isinstance(b, LatencyReport):
        differences = _latency(a, b)
        notes = _package_notes(a, b)
    elif isinstance(a, LoadReport) and isinstance(b, LoadReport):
        differences = _load(a, b)
        notes = _best_notes(a, b)
    else:
        raise UsageError(f"A is of {a.kind}, B of {b.kind}: only results of a kind compare")
    if not differences:
        raise UsageError("A and B have no case in common")
    notes = [*_environment_notes(a.environment, b.environment), *notes, *_drift(differences)]
    return Comparison(differences, tuple(notes))


def _latency(a: LatencyReport, b: LatencyReport) -> tuple[Difference, ...]:
    before = {result.case: result for result in a.cases}
    after = {result.case: result for result in b.cases}
    common = [case for case in before if case in after and not case.control]
    relative = [case for case in common if _single(case) in after and case.mode != "none"]
    confidence = _widened(len(common) + len(relative))
    found = [
        Difference(
            str(case),
            "ms",
            ratio_across_runs(after[case].totals_ms, before[case].totals_ms, confidence=confidence),
        )
        for case in common
    ]
    found += [
        Difference(
            str(case),
            "× single crop",
            ratio_of_ratios(*_pair(after, case), *_pair(before, case), confidence=confidence),
        )
        for case in relative
    ]
    return tuple(found)


def _pair(results: dict[Case, CaseResult], case: Case) -> tuple[list[float], list[float]]:
    return results[case].totals_ms, results[_single(case)].totals_ms


def _single(case: Case) -> Case:
    return case.model_copy(update={"mode": "none"})


def _load(a: LoadReport, b: LoadReport) -> tuple[Difference, ...]:
    before, after = _by_load(a.steps), _by_load(b.steps)
    common = [key for key in before if key in after]
    confidence = _widened(2 * len(common))
    found: list[Difference] = []
    for key in common:
        what, mode = key
        samples, base = after[key], before[key]
        mean = ratio_across_runs(samples, base, confidence=confidence)
        p99 = percentile_ratio(samples, base, 99, confidence=confidence)
        found += [
            Difference(f"{mode} at {what}", measure, ratio)
            for measure, ratio in (("mean ms", mean), ("p99 ms", p99))
        ]
    return tuple(found)


def _by_load(steps: Sequence[LoadStep]) -> dict[tuple[str, Mode], list[float]]:
    """Samples by rate (or users) and mode. For a repeated rate, those of the last try."""
    return {
        (step.name, mode): samples
        for step in steps
        for mode, samples in step.latencies_ms.items()
        if samples
    }


def _widened(comparisons: int) -> float:
    return 1 - (1 - CONFIDENCE) / max(1, comparisons)


def _drift(differences: Sequence[Difference]) -> list[str]:
    ratios = np.array([d.ratio.value for d in differences if d.measure != "× single crop"])
    same_side = bool((ratios > 1).all() or (ratios < 1).all())
    if len(ratios) < 3 or not same_side or float(np.std(np.log(ratios))) > TOGETHER:
        return []
    if not any(difference.real for difference in differences):
        return []
    return [
        f"everything moved together, by ×{float(np.median(ratios)):.2f}: more likely the machine "
        "than the model. Trust the rows in single crops."
    ]


def _environment_notes(a: Environment, b: Environment) -> list[str]:
    found: list[str] = []
    for name in ("cpu", "cores", "governor", "system", "python"):
        if getattr(a, name) != getattr(b, name):
            found.append(f"{name} differs: {getattr(a, name)} in A, {getattr(b, name)} in B.")
    for library in sorted({*a.libraries, *b.libraries}):
        versions = a.libraries.get(library, "none"), b.libraries.get(library, "none")
        if versions[0] != versions[1]:
            found.append(f"{library} differs: {versions[0]} in A, {versions[1]} in B.")
    return found


def _package_notes(a: LatencyReport, b: LatencyReport) -> list[str]:
    found: list[str] = []
    for file in sorted({*a.package.sha256, *b.package.sha256} - {"manifest.json"}):
        if a.package.sha256.get(file) != b.package.sha256.get(file):
            found.append(f"{file} is not the same file in A and B.")
    for what in ("provider", "threads", "images"):
        if getattr(a, what) != getattr(b, what):
            found.append(f"{what} differs: {getattr(a, what)} in A, {getattr(b, what)} in B.")
    return found


def _best_notes(a: LoadReport, b: LoadReport) -> list[str]:
    found: list[str] = []
    if a.settings.mix != b.settings.mix or a.settings.images != b.settings.images:
        found.append("A and B did not send the same mix of modes and images.")
    if a.best_per_second and b.best_per_second and a.slo_ms == b.slo_ms:
        ratio = b.best_per_second / a.best_per_second
        real = not 1 - 2 * TOLERANCE <= ratio <= 1 + 2 * TOLERANCE
        found.append(
            f"p{a.slo_percentile:g} ≤ {a.slo_ms:g} ms is kept up to {a.best_per_second:.1f}/s in A "
            f"and {b.best_per_second:.1f}/s in B (×{ratio:.2f}): "
            + ("real." if real else "within what the search can tell apart.")
        )
    return found
