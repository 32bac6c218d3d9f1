"""Results as rows of text: the terminal, Markdown and HTML all show these."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.bench.report.results import CaseResult, LatencyReport, LoadReport, Summary
from service.console import markdown


@dataclass(frozen=True)
class ReportTable:
    """A title, a header and rows of cells."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        return markdown.table(self.header, self.rows)


def latency_tables(report: LatencyReport) -> tuple[ReportTable, ReportTable]:
    """The cost of each case, and the time of its phases."""
    return _costs(report.cases), _phases(report.cases)


def _costs(cases: Sequence[CaseResult]) -> ReportTable:
    return ReportTable(
        "Latency per batch, ms",
        (
            *("mode", "precision", "batch", "n", "mean [95%]", "p50", "p90", "p99", "p99.9"),
            *("images/s", "passes", "× single crop [95%]", "without decode"),
        ),
        tuple(
            (
                _name(result),
                result.case.precision,
                str(result.case.batch_images),
                str(result.total.n),
                f"{ms(result.total.mean_ms)} [{ms(result.total.mean_low_ms)}, "
                f"{ms(result.total.mean_high_ms)}]",
                ms(result.total.p50_ms),
                ms(result.total.p90_ms),
                ms(result.total.p99_ms),
                ms(result.total.p999_ms),
                f"{result.images_per_second:.1f}",
                f"{result.passes_per_image:.2f}",
                str(result.ratio or 1),
                str(result.ratio_without_decode or 1),
            )
            for result in cases
        ),
    )


def _phases(cases: Sequence[CaseResult]) -> ReportTable:
    shown = [result for result in cases if not result.case.control]
    return ReportTable(
        "Where the time goes: median ms per batch",
        ("mode", "precision", "batch", *(shown[0].phases_ms if shown else ())),
        tuple(
            (
                _name(result),
                result.case.precision,
                str(result.case.batch_images),
                *(ms(value) for value in result.phases_ms.values()),
            )
            for result in shown
        ),
    )


def load_tables(report: LoadReport) -> tuple[ReportTable, ...]:
    """Every step, and every mode of a step if there are several."""
    slo = "" if report.settings.arrivals == "closed" else f"; SLO {report.slo_ms:g} ms"
    steps = ReportTable(
        f"Load, {report.settings.arrivals} arrivals{slo}",
        (
            *("offered/s", "users", "sent", "answered", "429", "failed", "answered/s"),
            *("mean", "p50", "p90", "p99", "p99.9", f"p{report.slo_percentile:g} of all"),
            *("client late p99", "client CPU"),
        ),
        tuple(
            (
                _or_dash(step.offered_per_second, "{:.1f}"),
                _or_dash(step.users, "{}"),
                *(str(n) for n in (step.sent, step.answered, step.refused, step.failed)),
                f"{step.answered_per_second:.1f}",
                *_times(step.latency),
                "∞" if step.worst_percentile_ms is None else ms(step.worst_percentile_ms),
                ms(step.lateness_p99_ms),
                f"{step.client_cpu:.0%}",
            )
            for step in report.steps
        ),
    )
    if len(report.settings.mix) == 1:
        return (steps,)
    modes = ReportTable(
        "By mode, ms",
        ("offered/s", "users", "mode", "n", "mean", "p50", "p90", "p99", "p99.9"),
        tuple(
            (
                _or_dash(step.offered_per_second, "{:.1f}"),
                _or_dash(step.users, "{}"),
                mode,
                str(summary.n),
                *_times(summary),
            )
            for step in report.steps
            for mode, summary in step.by_mode.items()
        ),
    )
    return steps, modes


def _times(summary: Summary | None) -> tuple[str, ...]:
    if summary is None:
        return ("–",) * 5
    return tuple(
        ms(value)
        for value in (
            *(summary.mean_ms, summary.p50_ms, summary.p90_ms, summary.p99_ms, summary.p999_ms),
        )
    )


def _or_dash(value: float | None, shape: str) -> str:
    return "–" if value is None else shape.format(value)


def _name(result: CaseResult) -> str:
    return "none again (control)" if result.case.control else result.case.mode


def ms(value: float) -> str:
    """Three significant digits, but never finer than 10 µs."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
