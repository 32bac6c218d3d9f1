"""Results as rows of text: the terminal, Markdown and HTML all show these."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.bench.results import CaseResult, LatencyReport, Ratio


@dataclass(frozen=True)
class Table:
    """A title, a header and rows of cells."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        lines = ["| " + " | ".join(cells) + " |" for cells in (self.header, *self.rows)]
        lines.insert(1, "|" + " --- |" * len(self.header))
        return "\n".join(lines)


def latency_tables(report: LatencyReport) -> tuple[Table, Table]:
    """What each case costs, and where its time goes."""
    return _costs(report.cases), _phases(report.cases)


def _costs(cases: Sequence[CaseResult]) -> Table:
    return Table(
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
                times(result.ratio),
                times(result.ratio_without_decode),
            )
            for result in cases
        ),
    )


def _phases(cases: Sequence[CaseResult]) -> Table:
    shown = [result for result in cases if not result.case.control]
    return Table(
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


def _name(result: CaseResult) -> str:
    return "none again (control)" if result.case.control else result.case.mode


def ms(value: float) -> str:
    """Three significant digits, but never finer than 10 µs."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def times(ratio: Ratio | None) -> str:
    if ratio is None:
        return "1"
    return f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
