"""An evaluation as a Markdown report with tables and pictures."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from service.console.markdown import plain, table
from service.inference.image.geometry import centre_box, shorter_side
from service.inference.image.views import cut, resize, size_of
from service.package.card import paired_table
from service.package.labels import distinct_names
from service.package.manifest import Manifest, Precision
from service.package.package import ModelPackage
from service.package.recorded import settings
from training.data.captions import NO_MATHS, caption
from training.data.pixels import open_image
from training.evaluation.differences import draw_differences
from training.evaluation.evaluate import Evaluated, Evaluation
from training.evaluation.methods import BASELINES, MethodName
from training.evaluation.metrics import Labels, Probabilities, confusion, reliability
from training.run.curves import draw_curves

mpl.use("Agg")
from matplotlib import pyplot as plt

WORST = 16
THUMBNAIL_PX = 128
CAPTION_PX = 30
THUMBNAILS_ACROSS = 4
CAPTION_LETTERS = 20
TICK_LETTERS = 40
COLUMNS = (
    "precision", "mode", "top-1 % (95%)", "NLL", "ECE %", "cost (crops)",
    *paired_table.COLUMNS,
)  # fmt: skip
ALIGN = "ll" + "r" * (len(COLUMNS) - 2)


def write_report(package: Path, measured: Evaluation, folder: Path) -> Path:
    """Write ``report.md`` and its pictures into `folder`.

    The pictures show the last measured precision. The mode is the package's default mode if it was
    measured, else the last measured mode that can be served, else the last baseline.
    """
    folder.mkdir(parents=True, exist_ok=True)
    loaded = ModelPackage.load(package)
    manifest = loaded.manifest
    precision, mode = _shown(manifest, measured)
    got = measured.predictions[precision]
    probabilities, labels = got.by_name[mode].probabilities, got.labels
    names = distinct_names(manifest.labels)
    shown = f"{precision}, {mode}"
    right = probabilities.argmax(1) == labels
    path = folder / "reliability.png"
    reliability_diagram(probabilities.max(1), right, path, "images", shown)
    confusion_matrix(probabilities, labels, names, folder / "confusion.png", shown)
    worst = worst_mistakes(probabilities, labels)
    thumbnails(
        [(got.paths[i], _caption(names, probabilities[i], labels[i])) for i in worst],
        folder / "mistakes.png",
    )
    draw_differences(measured.rows, folder / "differences.png")
    text = _markdown(loaded, measured, precision, mode) + learning_curves(manifest, folder)
    (folder / "report.md").write_text(text, encoding="utf-8")
    return folder / "report.md"


def _shown(manifest: Manifest, measured: Evaluation) -> tuple[Precision, MethodName]:
    precision = measured.rows[-1].precision
    rows = [row for row in measured.rows if row.precision == precision]
    modes = [row.mode for row in rows]
    if manifest.default_mode in modes:
        return precision, manifest.default_mode
    served = [row for row in rows if row.mode not in BASELINES]
    return precision, (served or rows)[-1].mode


def _markdown(
    package: ModelPackage, measured: Evaluation, precision: Precision, mode: MethodName
) -> str:
    manifest = package.manifest
    accuracies = measured.per_class(precision, mode, len(manifest.labels))
    each = [
        (name, f"{100 * accuracy:.2f}")
        for name, accuracy in zip(distinct_names(manifest.labels), accuracies, strict=True)
    ]
    lines = [
        f"# {manifest.name}@{manifest.version} on {measured.rows[0].scores.images} images",
        "",
        *bullets(settings.lines(package, measured.predictions)),
        table(COLUMNS, map(_row, measured.rows), ALIGN),
        "",
        *_comparisons(measured),
        *bullets(measured.left_out.lines()),
        f"## {precision}, {mode}",
        "",
        "![Reliability](reliability.png) ![Confusion](confusion.png)",
        "",
        table(("class", "accuracy %"), each, "lr"),
        "",
        "The most confident mistakes:",
        "",
        "![Mistakes](mistakes.png)",
    ]
    return "\n".join(lines) + "\n"


def _comparisons(measured: Evaluation) -> list[str]:
    """What the columns of the comparison mean, and the comparison of precisions."""
    lines: list[str] = []
    if any(row.against_single for row in measured.rows):
        lines += [
            f"Compared with the single crop of the same precision, on the same images. "
            f"{paired_table.LEGEND}",
            "",
            "![Differences](differences.png)",
            "",
        ]
    if others := [row for row in measured.rows if row.against_fp32]:
        cells = [(row.precision, row.mode, *paired_table.cells(row.against_fp32)) for row in others]
        columns = ("precision", "mode", *paired_table.COLUMNS)
        lines += ["Compared with fp32, the same mode:", "", table(columns, cells), ""]
    return lines


def learning_curves(manifest: Manifest, folder: Path) -> str:
    """Draw the learning curves into `folder` and return their part of the report.

    The part is empty if the package has no training history.
    """
    history = manifest.provenance.get("history")
    if not history:
        return ""
    draw_curves(history, folder / "curves.png")
    return "\nLearning curves, by epoch:\n\n![Learning curves](curves.png)\n"


def bullets(lines: Sequence[str]) -> list[str]:
    """The lines of a Markdown list, and an empty line after it; nothing if there are no lines."""
    return [*(f"- {plain(line)}" for line in lines), ""] if lines else []


def _row(row: Evaluated) -> tuple[object, ...]:
    s = row.scores
    low, high = s.top1_interval
    return (
        row.precision,
        row.mode,
        f"{100 * s.top1:.2f} ({100 * low:.2f} to {100 * high:.2f})",
        f"{s.nll:.4f}",
        f"{100 * s.ece:.2f}",
        f"{row.cost:.2f}",
        *paired_table.cells(row.against_single),
    )


def worst_mistakes(probabilities: Probabilities, labels: Labels) -> list[int]:
    """Indices of the `WORST` wrong answers with the highest probability, in falling order."""
    wrong = np.flatnonzero(probabilities.argmax(1) != labels)
    order = np.argsort(-probabilities[wrong].max(1), kind="stable")
    return [int(i) for i in wrong[order[:WORST]]]


def reliability_diagram(
    probability: NDArray[np.float64], true: NDArray[np.bool_], path: Path, area: str, shown: str
) -> None:
    """How often an answer of a probability was true. On the diagonal both are equal.

    `area` is what the areas of the dots count, and `shown` is what was measured.
    """
    counts, mean, share_true = reliability(probability, true)
    filled = counts > 0
    figure, axes = plt.subplots(figsize=(4.5, 4.5), dpi=110)
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    share = counts[filled] / counts.sum()
    axes.scatter(mean[filled], share_true[filled], s=20 + 600 * share, alpha=0.8)
    axes.set_xlabel("mean probability")
    axes.set_ylabel("share that is true")
    axes.set_title(f"Reliability (area: share of {area})\n{shown}")
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def confusion_matrix(
    probabilities: Probabilities, labels: Labels, names: list[str], path: Path, shown: str
) -> None:
    """Draw the confusion matrix: rows are true classes, columns answers, cells counts.

    Right answers are green: the greener, the larger the share of the class. Mistakes are red.
    """
    counts = confusion(probabilities, labels)
    side = max(4.5, 0.6 * len(names))
    figure, axes = plt.subplots(figsize=(side, side), dpi=110)
    off = counts - np.diag(np.diag(counts))
    axes.imshow(off, cmap="Reds", vmax=max(1, off.max()))
    right = np.diag(counts) / np.maximum(1, counts.sum(1))
    diagonal = np.ma.masked_where(~np.eye(len(names), dtype=bool), np.diag(right))
    axes.imshow(diagonal, cmap="Greens", vmin=0, vmax=1.6)  # 1.6: black numbers stay readable
    for (row, column), count in np.ndenumerate(counts):
        if count and len(names) <= 20:
            colour = "white" if off[row, column] > off.max() / 2 else "black"
            axes.text(column, row, str(count), ha="center", va="center", fontsize=7, color=colour)
    ticks = [caption(name, TICK_LETTERS) for name in names]
    axes.set_xticks(range(len(names)), ticks, rotation=60, ha="right", fontsize=7, **NO_MATHS)
    axes.set_yticks(range(len(names)), ticks, fontsize=7, **NO_MATHS)
    axes.set_xlabel("answer")
    axes.set_ylabel("true class")
    axes.set_title(f"Confusion\n{shown}")
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def thumbnails(shown: list[tuple[Path, str]], path: Path) -> None:
    """A grid of centre crops with captions."""
    rows = max(1, -(-len(shown) // THUMBNAILS_ACROSS))
    cell = THUMBNAIL_PX + CAPTION_PX
    grid = Image.new("RGB", (THUMBNAILS_ACROSS * THUMBNAIL_PX, rows * cell), "white")
    draw = ImageDraw.Draw(grid)
    for index, (file, text) in enumerate(shown):
        left, top = index % THUMBNAILS_ACROSS * THUMBNAIL_PX, index // THUMBNAILS_ACROSS * cell
        image = open_image(file)
        small = resize(image, shorter_side(size_of(image), THUMBNAIL_PX))
        crop = cut(small, centre_box(size_of(small), THUMBNAIL_PX))
        grid.paste(Image.fromarray(crop), (left, top))
        draw.multiline_text((left + 2, top + THUMBNAIL_PX + 2), text, fill="black")
    grid.save(path)


def _caption(names: list[str], probabilities: np.ndarray, label: int) -> str:
    answer = int(probabilities.argmax())
    said = f"{caption(names[answer], CAPTION_LETTERS - 5)} {probabilities[answer]:.2f}"
    return f"{said}\nis {caption(names[label], CAPTION_LETTERS - 3)}"
