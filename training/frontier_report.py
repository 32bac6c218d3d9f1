"""A frontier as a table, as JSON, and as a plot of accuracy against cost."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from training.frontier import Frontier, Point

COLUMNS = (
    "precision", "mode", "top-1 % (95%)", "NLL", "ECE %", "right→wrong", "wrong→right",
    "mean ms", "p50", "p99", "× single crop (95%)", "× fp32 single crop", "images/s", "peak MiB",
)  # fmt: skip


def as_json(frontier: Frontier) -> dict[str, Any]:
    """Everything measured."""
    return {
        **asdict(frontier),
        "environment": frontier.environment.model_dump(),
        "points": [asdict(point) for point in frontier.points],
    }


def rows(frontier: Frontier) -> list[list[str]]:
    """The cells of the table, one row per point, under `COLUMNS`."""
    return [_row(point) for point in frontier.points]


def markdown(frontier: Frontier, command: str) -> str:
    """The table with what it was measured on and the command that makes it."""
    machine = frontier.environment
    lines = [
        f"# The frontier of {frontier.package}",
        "",
        f"`{command}`",
        "",
        f"{machine.taken_at}, {machine.cpu}, {machine.cores} cores, Python {machine.python}, "
        + ", ".join(f"{k} {v}" for k, v in machine.libraries.items())
        + f". Accuracy over {frontier.images} images; time over {frontier.timed_images} of them, "
        "one at a time, candidates interleaved, from pixels to probabilities "
        f"(decoding costs every candidate {frontier.decode_ms:.1f} ms more).{_shape(frontier)}",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|---|---|" + "--:|" * (len(COLUMNS) - 2),
        *("| " + " | ".join(cells) + " |" for cells in rows(frontier)),
        "",
        "Baselines in *italics*. NLL and ECE of baselines use the temperature of the nearest mode "
        "(`dense` for `full_image`, one pass over the whole resized image with nothing cut; "
        "`five_crop` for `fastai_tta`, four random training views and the plain one as `learn.tta` "
        "mixes them). Intervals are 95% bootstrap.",
        "",
        "Files: " + ", ".join(f"`{k}` sha256 {v[:12]}…" for k, v in frontier.sha256.items()),
    ]
    return "\n".join(lines) + "\n"


def _shape(frontier: Frontier) -> str:
    if frontier.aspect == 1:
        return ""
    return (
        f" Every image was cut to {frontier.aspect:g}:1 around its middle first, half of them "
        "lying, half standing."
    )


def _row(point: Point) -> list[str]:
    s, ratio = point.scores, point.ratio
    low, high = s.top1_interval
    name = f"*{point.name}*" if point.baseline else point.name
    return [
        point.precision,
        name,
        f"{100 * s.top1:.2f} ({100 * low:.2f} to {100 * high:.2f})",
        f"{s.nll:.4f}",
        f"{100 * s.ece:.2f}",
        str(point.turned_wrong),
        str(point.turned_right),
        f"{point.mean_ms.value:.2f}",
        f"{point.p50_ms:.2f}",
        f"{point.p99_ms:.2f}",
        f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})",
        "" if point.ratio_fp32 is None else f"{point.ratio_fp32.value:.2f}",
        f"{point.images_per_second:.0f} ({point.best_batch_images})",
        f"{point.peak_mib:.0f}",
    ]


def plot(frontier: Frontier, path: Path) -> Path:
    """Accuracy against mean time, in fp32 single crops where fp32 ran; the best path is drawn."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib import ticker

    in_fp32 = all(point.ratio_fp32 is not None for point in frontier.points)
    figure, axes = plt.subplots(figsize=(9, 5.5), dpi=120)
    colours = {"fp32": "#4c72b0", "int8": "#c44e52", "fp16": "#55a868"}
    for point in frontier.points:
        x = _cost(point, in_fp32)
        low, high = point.scores.top1_interval
        top1 = 100 * point.scores.top1
        axes.errorbar(
            x,
            top1,
            yerr=[[top1 - 100 * low], [100 * high - top1]],
            fmt="D" if point.baseline else "o",
            color=colours[point.precision],
            alpha=0.45 if point.baseline else 0.95,
            elinewidth=0.6,
        )
        if _alone(point, frontier.points, in_fp32):
            axes.annotate(
                point.name, (x, top1), xytext=(5, 4), textcoords="offset points", fontsize=7.5
            )
    best = best_path(frontier.points, in_fp32)
    axes.plot(
        [_cost(p, in_fp32) for p in best],
        [100 * p.scores.top1 for p in best],
        color="black",
        linewidth=0.8,
        linestyle="--",
        zorder=0,
    )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    base = "fp32 single crop" if in_fp32 else "single crop"
    axes.set_xlabel(f"mean time per image, in units of one {base} (log)")
    axes.set_ylabel("top-1 %")
    shape = "" if frontier.aspect == 1 else f" of {frontier.aspect:g}:1"
    axes.set_title(f"{frontier.package}: accuracy against cost, {frontier.images} images{shape}")
    for precision in dict.fromkeys(point.precision for point in frontier.points):
        axes.plot([], [], "o", color=colours[precision], label=precision)
    axes.plot([], [], "D", color="grey", alpha=0.5, label="baseline")
    axes.legend(loc="lower right")
    axes.grid(alpha=0.25)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
    return path


def _alone(point: Point, points: Sequence[Point], in_fp32: bool) -> bool:
    """Whether no earlier point has its place: two names on one spot cannot be read."""
    for other in points:
        if other is point:
            return True
        near = abs(_cost(other, in_fp32) / _cost(point, in_fp32) - 1) < 0.03
        if near and abs(other.scores.top1 - point.scores.top1) < 1e-3:
            return False
    return True


def best_path(points: Sequence[Point], in_fp32: bool) -> list[Point]:
    """The points that no cheaper one matches in accuracy, by rising cost."""
    path: list[Point] = []
    for point in sorted(points, key=lambda p: (_cost(p, in_fp32), -p.scores.top1)):
        if not path or point.scores.top1 > path[-1].scores.top1:
            path.append(point)
    return path


def _cost(point: Point, in_fp32: bool) -> float:
    ratio = point.ratio_fp32 if in_fp32 else point.ratio
    return ratio.value if ratio else point.ratio.value
