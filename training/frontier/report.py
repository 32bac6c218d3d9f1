"""A frontier as a table and as JSON."""

from dataclasses import asdict
from typing import Any

from service.console.markdown import Markdown, code, plain, table
from service.package.card import paired_table
from training.frontier.measure import Frontier, Point

COLUMNS = (
    "precision", "mode", "top-1 % (95%)", "NLL", "ECE %", *paired_table.COLUMNS,
    "mean ms", "p50", "p99", "× single crop (95%)", "× fp32 single crop", "images/s", "peak MiB",
)  # fmt: skip


def as_json(frontier: Frontier) -> dict[str, Any]:
    """All measurements."""
    return {
        **{k: v for k, v in asdict(frontier).items() if k != "left_out"},
        **frontier.left_out.facts(),
        "environment": frontier.environment.model_dump(),
        "points": [_facts(point) for point in frontier.points],
    }


def _facts(point: Point) -> dict[str, Any]:
    compared = point.against_single
    return {
        **asdict(point),
        "turned_wrong": compared.spoiled if compared else 0,
        "turned_right": compared.corrected if compared else 0,
    }


def rows(frontier: Frontier) -> list[list[str]]:
    """The cells of the table, one row per point, under `COLUMNS`."""
    return [_row(point) for point in frontier.points]


def markdown(frontier: Frontier, command: str) -> str:
    """The table, with the conditions of the measurement and the command that makes it."""
    machine = frontier.environment
    align = "ll" + "r" * (len(COLUMNS) - 2)
    lines = [
        f"# The frontier of {plain(frontier.package)}",
        "",
        code(command),
        "",
        f"{machine.taken_at}, {machine.cpu}, {machine.cores} cores, Python {machine.python}, "
        + ", ".join(f"{k} {v}" for k, v in machine.libraries.items())
        + f". Accuracy over {frontier.images} images; time over {_timed(frontier)}, "
        "one at a time, methods interleaved, from pixels to probabilities "
        f"(decoding costs every method {frontier.decode_ms:.1f} ms more).{_shape(frontier)}"
        + _gate(frontier),
        "",
        table(COLUMNS, (map(Markdown, cells) for cells in rows(frontier)), align),
        "",
        *(f"- {plain(line)}" for line in (*frontier.settings, *frontier.left_out.lines())),
        "",
        "Baselines in *italics*. NLL and ECE of baselines use the temperature of the nearest mode "
        "(`dense` for `full_image`, one pass over the whole resized image with nothing cut; "
        "`five_crop` for `five_passes`, the same crops with nothing shared, and for `fastai_tta`, "
        "four random training views and the plain one as `learn.tta` mixes them). Corrected, "
        "spoiled, difference and p (McNemar's exact test) compare a mode with the single crop of "
        "the same precision, on the same images; the difference is in percentage points, and its "
        "interval is exact. Other intervals are 95% bootstrap.",
        "",
        "Files: " + ", ".join(f"`{k}` sha256 {v[:12]}…" for k, v in frontier.sha256.items()),
    ]
    return "\n".join(lines) + "\n"


def _timed(frontier: Frontier) -> str:
    kind = "drawn JPEGs" if frontier.drawn else "of them"
    return f"{frontier.timed_images} {kind}, {frontier.timed_sizes}"


def _gate(frontier: Frontier) -> str:
    if not frontier.drawn:
        return ""
    return (
        " The model's confidence in drawn images is arbitrary, so times of `adaptive` are not "
        "those of real photos."
    )


def _shape(frontier: Frontier) -> str:
    if frontier.aspect == 1:
        return ""
    if frontier.stretch:
        return f" Every image was stretched first, to {frontier.aspect:g} times its width."
    return (
        f" Every image was cut to {frontier.aspect:g}:1 around its middle first, half of them "
        "to landscape, half to portrait."
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
        *paired_table.cells(point.against_single),
        f"{point.mean_ms.value:.2f}",
        f"{point.p50_ms:.2f}",
        f"{point.p99_ms:.2f}",
        f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})",
        "" if point.ratio_fp32 is None else f"{point.ratio_fp32.value:.2f}",
        f"{point.images_per_second:.0f} ({point.best_batch_images})",
        f"{point.peak_mib:.0f}",
    ]
