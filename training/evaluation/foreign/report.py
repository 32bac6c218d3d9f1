"""The comparison of known and foreign images, in the terminal and as a Markdown report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from service.console.markdown import table
from service.package.labels import distinct_names
from service.package.manifest import Manifest
from training.data.captions import caption
from training.evaluation.foreign.measure import ForeignEvaluation, ForeignRow
from training.evaluation.foreign.separation import Separation
from training.evaluation.metrics import share_interval

WORST = 16
COLUMNS = (
    "precision", "mode", "AUROC (95%)", "known accepted % (95%)", "foreign accepted % (95%)",
    "AUROC of the top probability (95%)", "AUROC minus single crop (95%)",
    "the same of the top probability", "caught / missed", "p",
)  # fmt: skip
LEGEND = (
    "AUROC: how often a foreign image has a higher unknown score than a known one. The next two "
    "columns are at the known rate. Beside it stands the AUROC of one minus the top probability, "
    "which needs no unknown score. The last four columns compare a mode with the single crop of "
    "the same precision on the same images. Caught: foreign images that only the mode finds; "
    "missed: those that only the single crop finds; p: McNemar's exact test of both counts."
)


def as_json(measured: ForeignEvaluation, beside: dict[str, Any]) -> dict[str, Any]:
    """The rows, and what was not measured."""
    rows = [row.facts() for row in measured.rows]
    return {"rows": rows, "unreadable": len(measured.unreadable), **beside}


def foreign_table(measured: ForeignEvaluation) -> Table:
    """One line for each precision and mode."""
    shown = Table(*COLUMNS)
    for row in measured.rows:
        shown.add_row(*_cells(row))
    return shown


def write_foreign_report(
    manifest: Manifest, measured: ForeignEvaluation, folder: Path, notes: Sequence[str] = ()
) -> Path:
    """Write ``foreign.md`` and a picture of the most confident false accepts into `folder`.

    The picture shows the last measured precision. The mode is the package's default mode if it was
    measured, else the last measured mode.
    """
    from training.evaluation.report import bullets, thumbnails  # matplotlib is slow to load

    folder.mkdir(parents=True, exist_ok=True)
    precision = measured.rows[-1].precision
    own = {row.mode: row for row in measured.rows if row.precision == precision}
    row = own.get(manifest.default_mode, measured.rows[-1])
    paths, names = measured.foreign_paths[precision], distinct_names(manifest.labels)
    worst = most_confident(row)
    first = measured.rows[0]
    lines = [
        f"# {manifest.name}@{manifest.version}: {len(first.known.unknown)} known and "
        f"{len(first.foreign.unknown)} foreign images",
        "",
        table(COLUMNS, map(_cells, measured.rows)),
        "",
        LEGEND,
        "",
        *bullets(list(notes)),
        f"## {precision}, {row.mode}",
        "",
    ]
    if worst:
        shown = [(paths[i], _caption(row, names, i)) for i in worst]
        thumbnails(shown, folder / "false_accepts.png")
        lines += [
            "Foreign images that were accepted, the most confident answers first:",
            "",
            "![False accepts](false_accepts.png)",
        ]
    else:
        lines.append("No foreign image was accepted.")
    (folder / "foreign.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "foreign.md"


def most_confident(row: ForeignRow) -> list[int]:
    """Indices of the `WORST` accepted foreign images with the highest top probability.

    The highest comes first.
    """
    accepted = np.flatnonzero(~row.foreign.unknown)
    order = np.argsort(-row.foreign.probability[accepted], kind="stable")
    return [int(i) for i in accepted[order[:WORST]]]


def _caption(row: ForeignRow, names: Sequence[str], at: int) -> str:
    said = f"{caption(names[int(row.foreign.index[at])], 15)} {row.foreign.probability[at]:.2f}"
    score, threshold = row.foreign.score, row.foreign.threshold
    if score is None or threshold is None:
        return said
    return f"{said}\n{score[at]:.2f} of {threshold:.2f}"


def _cells(row: ForeignRow) -> tuple[str, ...]:
    shares, paired = row.shares(), row.against_single
    return (
        row.precision,
        row.mode,
        _area(row.separation),
        *(_share(*shares[name]) if shares else "–" for name in ("known_share", "false_accepts")),
        _area(row.by_probability),
        _area(paired and paired.auroc, "+"),
        _area(paired and paired.by_probability, "+"),
        f"{paired.caught} / {paired.missed}" if paired else "–",
        f"{paired.p_value:.3g}" if paired else "–",
    )


def _area(found: Separation | None, sign: str = "") -> str:
    if found is None:
        return "–"
    low, high = found.interval
    return f"{found.auroc:{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"


def _share(count: int, of: int) -> str:
    low, high = share_interval(count, of)
    return f"{100 * count / of:.1f} ({100 * low:.1f} to {100 * high:.1f})"
