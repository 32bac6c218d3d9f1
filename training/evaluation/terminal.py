"""An evaluation as a table for the terminal."""

from rich.table import Table

from training.evaluation.evaluate import Evaluation
from training.evaluation.multi_label import COLUMNS, LabelEvaluation


def single_label_table(measured: Evaluation) -> Table:
    """One row per precision and mode: accuracy, cost, and the answers that TTA changed."""
    rows = measured.rows
    table = Table(title=f"{rows[0].scores.images} images")
    for column in ("precision", "mode", "top-1 %", "95%", "top-5 %", "NLL", "ECE %"):
        table.add_column(column, justify="left" if column in {"precision", "mode"} else "right")
    table.add_column("cost (crops)", justify="right")
    table.add_column("right→wrong", justify="right")
    table.add_column("wrong→right", justify="right")
    with_sets = any(row.coverage is not None for row in rows)
    if with_sets:
        table.add_column("coverage %", justify="right")
        table.add_column("set size", justify="right")
    for row in rows:
        s = row.scores
        low, high = s.top1_interval
        cells = [
            row.precision,
            row.mode,
            f"{100 * s.top1:.2f}",
            f"{100 * low:.2f} to {100 * high:.2f}",
            "" if s.top5 is None else f"{100 * s.top5:.2f}",
            f"{s.nll:.4f}",
            f"{100 * s.ece:.2f}",
            f"{row.cost:.2f}",
            "" if row.turned_wrong is None else str(row.turned_wrong),
            "" if row.turned_right is None else str(row.turned_right),
        ]
        if with_sets:
            cells.append("" if row.coverage is None else f"{100 * row.coverage:.2f}")
            cells.append("" if row.mean_set_size is None else f"{row.mean_set_size:.2f}")
        table.add_row(*cells)
    return table


def multi_label_table(measured: LabelEvaluation) -> Table:
    """One row per precision and mode: average precision, F1, likelihood and cost."""
    images = measured.rows[0].scores.images
    table = Table(title=f"{images} images, {measured.aggregate} over views")
    for column in COLUMNS:
        table.add_column(column)
    for row in measured.rows:
        table.add_row(*row.cells())
    return table
