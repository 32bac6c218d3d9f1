"""The frontier's plot: gain over the single crop against time, with a name for every point."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.frontier.measure import Frontier, Point

COLOURS = {"fp32": "#4c72b0", "int8": "#c44e52", "fp16": "#55a868"}
BASELINE = "#9a9a9a"
PLACES = tuple(
    (x * far, y * far)
    for far in (6, 14, 24, 36, 52, 72, 96)
    for x, y in (
        (1, 0.7), (-1, 0.7), (1, -0.7), (-1, -0.7), (0, 1), (0, -1),
        (0.4, 1.2), (-0.4, 1.2), (0.4, -1.2), (-0.4, -1.2),
    )
)  # fmt: skip
"""Positions for a name, in points from its marker, the best first."""
LEADER_FROM = 10
"""A name further away than this gets a line to its marker."""


def plot(frontier: Frontier, path: Path) -> Path:
    """The difference in top-1 to the single crop, against mean time. The best path is drawn.

    Both axes refer to the fp32 single crop if fp32 ran, else to the single crop of the precision
    that ran. A bar is the 95% interval of the paired difference, not of the accuracy itself.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib import ticker

    in_fp32 = all(point.ratio_fp32 is not None for point in frontier.points)
    figure, axes = plt.subplots(figsize=(9, 5.5), dpi=120, layout="constrained")
    bars: dict[tuple[float, float], tuple[float, float]] = {}
    for point in frontier.points:
        x, y, low, high = _cost(point, in_fp32), *_gain(point, in_fp32)
        bars[x, y] = (low, high)
        axes.errorbar(
            x,
            y,
            yerr=[[y - low], [high - y]],
            fmt="D" if point.baseline else "o",
            color=BASELINE if point.baseline else COLOURS[point.precision],
            elinewidth=0.7,
            zorder=1 if point.baseline else 2,
        )
    best = best_path(frontier.points, in_fp32)
    axes.plot(
        [_cost(p, in_fp32) for p in best],
        [_gain(p, in_fp32)[0] for p in best],
        color="black",
        linewidth=0.8,
        linestyle="--",
        zorder=0,
    )
    axes.axhline(0, color="black", linewidth=0.6, zorder=0)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
    axes.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    base = "fp32 single crop" if in_fp32 else "single crop"
    axes.set_xlabel(f"mean time per image, in units of one {base} (log)")
    axes.set_ylabel(f"top-1 minus that of the {base}, percentage points (95%)")
    shape = "" if frontier.aspect == 1 else f" of {frontier.aspect:g}:1"
    axes.set_title(f"{frontier.package}: accuracy against time, {frontier.images} images{shape}")
    for precision in dict.fromkeys(point.precision for point in frontier.points):
        axes.plot([], [], "o", color=COLOURS[precision], label=precision)
    axes.plot([], [], "D", color=BASELINE, label="baseline")
    figure.legend(loc="outside right upper")
    axes.grid(alpha=0.25)
    figure.draw_without_rendering()  # the layout must be final before names are placed
    shown = [p for p in frontier.points if _alone(p, frontier.points, in_fp32)]
    name_points(axes, {(_cost(p, in_fp32), _gain(p, in_fp32)[0]): _label(p) for p in shown}, bars)
    figure.savefig(path)
    plt.close(figure)
    return path


def _label(point: Point) -> str:
    """The name in the plot. Baselines of every precision are grey, so it names the precision."""
    return f"{point.name} ({point.precision})" if point.baseline else point.name


def name_points(
    axes: Any,
    names: dict[tuple[float, float], str],
    bars: Mapping[tuple[float, float], tuple[float, float]] | None = None,
) -> None:
    """Write each name near its marker, where it covers no other name, no marker and no bar.

    `bars` has the lower and the upper end of the error bar of each marker.

    Readers take a name without a line for the name of the nearest marker. So its own marker must be
    the nearest.

    This is not adjustText, which knows neither bars nor the nearest marker. On the four frontiers
    in docs/results, names crossed 4 to 33 bars with it, and none with these positions.
    """
    renderer = axes.figure.canvas.get_renderer()
    places: list[tuple[float, float]] = sorted({*names, *(bars or {})})
    markers = {place: _around(*axes.transData.transform(place)) for place in places}
    taken = [_bar(axes, place[0], ends) for place, ends in (bars or {}).items()]
    if axes.get_legend() is not None:
        taken.append(axes.get_legend().get_window_extent(renderer))
    inside = axes.get_window_extent(renderer)
    for place in sorted(names):
        blocked = [*taken, *markers.values()]
        text, covered = None, float("inf")
        for x, y in PLACES:
            tied = max(abs(x), abs(y)) > LEADER_FROM
            tried = axes.annotate(
                names[place], place, xytext=(x, y), textcoords="offset points", fontsize=7.5,
                ha="left" if x > 0 else "right" if x < 0 else "center",
                va="bottom" if y > 0 else "top",
                arrowprops={"arrowstyle": "-", "lw": 0.4, "color": "grey"} if tied else None,
            )  # fmt: skip
            box = box_of(tried, renderer)
            outside = box.width * box.height - _common(box, inside)
            now = sum(_common(box, other) for other in blocked) + outside
            if not tied and nearest(box, markers) != place:
                now += box.width * box.height
            if now < covered:
                if text is not None:
                    text.remove()
                text, covered = tried, now
            else:
                tried.remove()
            if not covered:
                break
        if text is not None:
            taken.append(box_of(text, renderer))


def box_of(name: Any, renderer: Any) -> Any:
    """The box of a name, without the line to its marker."""
    from matplotlib.text import Text

    name.update_positions(renderer)
    return Text.get_window_extent(name, renderer)


def nearest(box: Any, markers: Mapping[tuple[float, float], Any]) -> tuple[float, float]:
    """The position of the marker that is nearest to `box`."""

    def apart(place: tuple[float, float]) -> float:
        other = markers[place]
        across = max(0.0, other.x0 - box.x1, box.x0 - other.x1)
        down = max(0.0, other.y0 - box.y1, box.y0 - other.y1)
        return across**2 + down**2

    return min(markers, key=apart)


def _around(x: float, y: float, reach_px: float = 5) -> Any:
    from matplotlib.transforms import Bbox

    return Bbox.from_extents(x - reach_px, y - reach_px, x + reach_px, y + reach_px)


def _bar(axes: Any, x: float, ends: tuple[float, float]) -> Any:
    """The box of an error bar, in pixels."""
    from matplotlib.transforms import Bbox

    (across, low), (_, high) = axes.transData.transform([(x, end) for end in ends])
    return Bbox.from_extents(across - 1, low, across + 1, high)


def _common(one: Any, other: Any) -> float:
    """The area that two boxes share, in pixels."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return max(0.0, width) * max(0.0, height)


def _alone(point: Point, points: Sequence[Point], in_fp32: bool) -> bool:
    """Whether no earlier point has the same position: two names at one position are unreadable."""
    for other in points:
        if other is point:
            return True
        near = abs(_cost(other, in_fp32) / _cost(point, in_fp32) - 1) < 0.03
        apart = _gain(other, in_fp32)[0] - _gain(point, in_fp32)[0]
        if near and abs(apart) < 0.1:
            return False
    return True


def best_path(points: Sequence[Point], in_fp32: bool) -> list[Point]:
    """The points that are more accurate than every cheaper point, by rising cost."""
    path: list[Point] = []
    for point in sorted(points, key=lambda p: (_cost(p, in_fp32), -p.scores.top1)):
        if not path or point.scores.top1 > path[-1].scores.top1:
            path.append(point)
    return path


def _cost(point: Point, in_fp32: bool) -> float:
    ratio = point.ratio_fp32 if in_fp32 else point.ratio
    return ratio.value if ratio else point.ratio.value


def _gain(point: Point, in_fp32: bool) -> tuple[float, float, float]:
    """The difference in top-1 to the single crop and the ends of its interval, in percent."""
    compared = point.against_fp32 if in_fp32 else point.against_single
    if compared is None:
        return 0.0, 0.0, 0.0
    low, high = compared.interval
    return 100 * compared.difference, 100 * low, 100 * high
