"""An evaluation as a table for the terminal."""

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table

from service.package.card import paired_table
from training.evaluation.evaluate import Evaluation
from training.evaluation.multi_label import COLUMNS, LabelEvaluation


def single_label_table(measured: Evaluation) -> Group:
    """One row per precision and mode, compared with the single crop. A second table compares
    precisions, if fp32 and another one were measured."""
    rows = measured.rows
    with_sets = any(row.coverage is not None for row in rows)
    with_top5 = any(row.scores.top5 is not None for row in rows)
    columns = ["top-1 %", "95%", *(["top-5 %"] if with_top5 else [])]
    columns += ["NLL", "ECE %", "cost (crops)"]
    columns += [*paired_table.COLUMNS, *(["coverage %", "set size"] if with_sets else [])]
    tables = [_table(f"{rows[0].scores.images} images; compared with the single crop", columns)]
    for row in rows:
        s = row.scores
        low, high = s.top1_interval
        cells = [
            f"{100 * s.top1:.2f}",
            f"{100 * low:.2f} to {100 * high:.2f}",
            *(["" if s.top5 is None else f"{100 * s.top5:.2f}"] if with_top5 else []),
            f"{s.nll:.4f}",
            f"{100 * s.ece:.2f}",
            f"{row.cost:.2f}",
            *paired_table.cells(row.against_single),
        ]
        if with_sets:
            cells.append("" if row.coverage is None else f"{100 * row.coverage:.2f}")
            cells.append("" if row.mean_set_size is None else f"{row.mean_set_size:.2f}")
        tables[0].add_row(row.precision, row.mode, *cells)
    if others := [row for row in rows if row.against_fp32]:
        tables.append(_table("compared with fp32, the same mode", paired_table.COLUMNS))
        for row in others:
            tables[1].add_row(row.precision, row.mode, *paired_table.cells(row.against_fp32))
    return Group(*tables)


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title)
    table.add_column("precision")
    table.add_column("mode")
    for column in columns:
        table.add_column(column, justify="right")
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
