"""Notes for the reader of a latency table: was the machine quiet enough to trust it?"""

from collections.abc import Sequence
from itertools import combinations

from service.bench.report.results import CaseResult
from service.bench.report.statistics import Interval, paired_ratio
from service.package.manifest import Precision

NOISY_CONTROL = 0.05
"""If the control is further than 5% from 1, or its interval wider than ±5%, the run is noisy."""
P999_NEEDS = 1000


def notes(results: Sequence[CaseResult]) -> list[str]:
    """Sentences on noise, modes that cannot be told apart, and percentiles without samples."""
    found = [note for result in results if result.case.control for note in _control(result)]
    for group in _comparable(results).values():
        for first, second in combinations(group, 2):
            interval = paired_ratio(second.totals_ms, first.totals_ms)
            if not interval.excludes(1.0):
                found.append(_alike(first, second, interval))
    if results and results[0].total.n < P999_NEEDS:
        found.append(
            f"p99.9 needs {P999_NEEDS} samples; with n = {results[0].total.n} it is the largest."
        )
    return found


def _control(result: CaseResult) -> list[str]:
    ratio = result.ratio
    if ratio is None:
        return []
    if ratio.half_width <= NOISY_CONTROL and abs(ratio.value - 1) <= NOISY_CONTROL:
        return []
    return [
        f"{result.case.precision} batch {result.case.batch_images}: too noisy. The single crop "
        f"against itself came out at {ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f}), not "
        "1.00: run longer (--seconds) or on a quieter machine."
    ]


def _alike(first: CaseResult, second: CaseResult, interval: Interval) -> str:
    return (
        f"{first.case.precision} batch {first.case.batch_images}: {first.case.mode} and "
        f"{second.case.mode} cannot be told apart "
        f"(ratio {interval.low:.2f} to {interval.high:.2f})."
    )


def _comparable(results: Sequence[CaseResult]) -> dict[tuple[Precision, int], list[CaseResult]]:
    groups: dict[tuple[Precision, int], list[CaseResult]] = {}
    for result in results:
        if not result.case.control:
            key = result.case.precision, result.case.batch_images
            groups.setdefault(key, []).append(result)
    return groups
