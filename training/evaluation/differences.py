"""A picture of paired differences: every measured mode against the single crop."""

from collections.abc import Sequence
from pathlib import Path

from training.evaluation.evaluate import Evaluated
from training.evaluation.methods import BASELINES
from training.evaluation.paired import Paired

MODE, BASELINE = "#4c72b0", "#9a9a9a"


def draw_differences(rows: Sequence[Evaluated], path: Path) -> bool:
    """One line for each row that was compared, with the 95% interval of its difference in top-1.

    Baselines are grey. Returns whether there was something to draw.
    """
    from matplotlib.figure import Figure

    compared: list[tuple[Evaluated, Paired]] = [
        (row, row.against_single) for row in rows if row.against_single
    ]
    if not compared:
        return False
    figure = Figure(figsize=(7, 1 + 0.32 * len(compared)), dpi=110, layout="constrained")
    axes = figure.subplots()
    for line, (row, pair) in enumerate(compared):
        low, high = (100 * end for end in pair.interval)
        middle = 100 * pair.difference
        axes.errorbar(
            middle,
            line,
            xerr=[[middle - low], [high - middle]],
            fmt="o",
            color=BASELINE if row.mode in BASELINES else MODE,
            capsize=3,
        )
    axes.axvline(0, color="black", linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(compared)), [f"{row.precision} {row.mode}" for row, _ in compared])
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel("top-1 minus that of the single crop, percentage points (95%)")
    figure.savefig(path)
    return True
