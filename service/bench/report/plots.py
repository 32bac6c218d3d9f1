"""The plots of a report, as SVG text. matplotlib is imported when the first one is drawn."""

import io
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, get_args

from service.bench.report.compact import compact_svg
from service.bench.report.results import CaseResult, LatencyReport, LoadReport
from service.bench.report.statistics import percentile
from service.errors import QuincunxError
from service.package.manifest import Mode

SIZE_INCHES = (7.0, 4.2)
STEPS = [i / 10 for i in range(1001)]
MODES = get_args(Mode)
LINES = {"fp32": "--", "int8": "-", "fp16": "-."}
MARKERS = {"fp32": "s", "int8": "o", "fp16": "^"}

Draw = Callable[[Any], None]


def require_matplotlib() -> None:
    """Raises QuincunxError, which names the extra, before anything is measured."""
    if find_spec("matplotlib") is None:
        raise QuincunxError(
            "plots need matplotlib: pip install 'quincunx[plots]', or use --no-plots"
        )


def latency_plots(report: LatencyReport) -> dict[str, str]:
    """File name to SVG: CDFs, time by batch size, and accuracy against time if it is known."""
    cases = [result for result in report.cases if not result.case.control]
    least = min(result.case.batch_images for result in cases)
    ones = [result for result in cases if result.case.batch_images == least]
    plots = {
        "latency-cdf.svg": svg(lambda axes: _cdfs(axes, ones, least)),
        "cost-by-batch.svg": svg(lambda axes: _costs(axes, cases)),
    }
    if report.accuracy:
        plots["accuracy-by-cost.svg"] = svg(lambda axes: _accuracy(axes, report, ones, least))
    return plots


def load_plots(report: LoadReport) -> dict[str, str]:
    """File name to SVG: latency against rate, and the CDF of each step."""
    plots = {"load-cdf.svg": svg(lambda axes: _load_cdfs(axes, report))}
    if any(step.offered_per_second for step in report.steps):
        plots["latency-by-rate.svg"] = svg(lambda axes: _by_rate(axes, report))
    return plots


def _cdfs(axes: Any, results: Sequence[CaseResult], batch: int) -> None:
    for result in results:
        _cdf(axes, result.totals_ms, **_style(result))
    axes.set(xlabel=f"ms per batch of {batch}", ylabel="share of batches", xscale="log")
    _plain_ticks(axes.xaxis)
    axes.set_title("Latency")


def _cdf(axes: Any, samples: Sequence[float], label: str, **style: Any) -> None:
    ordered = [percentile(samples, percent) for percent in STEPS]
    axes.plot(ordered, [percent / 100 for percent in STEPS], label=label, **style)


def _costs(axes: Any, results: Sequence[CaseResult]) -> None:
    lines: dict[str, list[CaseResult]] = {}
    for result in results:
        if result.ratio is not None:
            lines.setdefault(f"{result.case.mode} {result.case.precision}", []).append(result)
    for points in lines.values():
        ratios = [point.ratio for point in points if point.ratio is not None]
        axes.errorbar(
            [point.case.batch_images for point in points],
            [ratio.value for ratio in ratios],
            yerr=[
                [max(0.0, ratio.value - ratio.low) for ratio in ratios],
                [max(0.0, ratio.high - ratio.value) for ratio in ratios],
            ],
            marker="o",
            capsize=3,
            **_style(points[0]),
        )
    axes.axhline(1, color="grey", linewidth=1, linestyle=":", label="the single crop")
    axes.set(xlabel="images in a batch", ylabel="time in single crops", ylim=(0, None))
    axes.set_title("Time of TTA")


def _accuracy(axes: Any, report: LatencyReport, results: Sequence[CaseResult], batch: int) -> None:
    top1 = {(m.precision, m.mode): m for m in report.accuracy}
    for result in results:
        metrics = top1.get((result.case.precision, result.case.mode))
        if metrics is None:
            continue
        low, high = metrics.top1_interval
        per_image_ms = result.total.mean_ms / batch
        axes.errorbar(
            [per_image_ms],
            [metrics.top1 * 100],
            yerr=[[(metrics.top1 - low) * 100], [(high - metrics.top1) * 100]],
            capsize=3,
            **_style(result),
            marker=MARKERS.get(result.case.precision, "o"),
        )
    axes.set(xlabel=f"ms per image, batch {batch}", ylabel="top-1, %", xlim=(0, None))
    axes.set_title("Accuracy against time")


def _load_cdfs(axes: Any, report: LoadReport) -> None:
    for step in report.steps:
        samples = [ms for mode in step.latencies_ms.values() for ms in mode]
        if samples:
            _cdf(axes, samples, step.name)
    axes.set(xlabel="ms from being due", ylabel="share of answered requests", xscale="log")
    _plain_ticks(axes.xaxis)
    axes.set_title("Latency")


def _by_rate(axes: Any, report: LoadReport) -> None:
    steps = sorted(
        (step.offered_per_second, step.latency)
        for step in report.steps
        if step.offered_per_second is not None and step.latency is not None
    )
    for label, read in (("p50", "p50_ms"), ("p99", "p99_ms"), ("p99.9", "p999_ms")):
        axes.plot(
            [rate for rate, _ in steps],
            [getattr(latency, read) for _, latency in steps],
            marker="o",
            label=label,
        )
    if report.slo_ms:
        axes.axhline(report.slo_ms, color="grey", linestyle="--", label="SLO")
    axes.set(xlabel="requests due per second", ylabel="ms from being due", yscale="log")
    _plain_ticks(axes.yaxis)
    axes.set_title("Latency against rate")


def _style(result: CaseResult) -> dict[str, Any]:
    """A colour for each mode and a line for each precision, with the name of both."""
    mode, precision = result.case.mode, result.case.precision
    place = MODES.index(mode) if mode in MODES else len(MODES)
    return {
        "color": f"C{place}",
        "linestyle": LINES.get(precision, "-."),
        "label": f"{mode} {precision}",
    }


def _plain_ticks(axis: Any) -> None:
    """Numbers such as 20, and not 2 × 10¹, on a logarithmic axis."""
    from matplotlib import ticker

    axis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axis.set_minor_formatter(ticker.NullFormatter())


def svg(draw: Draw) -> str:
    """One plot as SVG: `draw` gets the axes."""
    require_matplotlib()
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=SIZE_INCHES, layout="constrained")
    axes: Any = figure.subplots()
    draw(axes)
    if axes.get_legend_handles_labels()[1]:
        figure.legend(loc="outside right upper", fontsize="small")
    axes.grid(alpha=0.3)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return compact_svg(text[text.index("<svg") :])
