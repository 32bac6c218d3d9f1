"""An evaluation of a multi-label package as a Markdown report with pictures."""

from pathlib import Path

import numpy as np

from service.console.markdown import table
from service.package.labels import distinct_names
from service.package.manifest import Mode, Precision
from service.package.package import ModelPackage
from service.package.recorded import settings
from training.data.captions import caption
from training.evaluation.multi_label import COLUMNS, LabelEvaluation
from training.evaluation.multi_label_metrics import f1
from training.evaluation.multi_label_predictions import LabelAnswers, LabelPredictions
from training.evaluation.report import (
    CAPTION_LETTERS,
    WORST,
    bullets,
    learning_curves,
    reliability_diagram,
    thumbnails,
)


def write_report(package: Path, measured: LabelEvaluation, folder: Path) -> Path:
    """Write ``report.md`` and its pictures into `folder`.

    The pictures show the last measured precision. The mode is the package's default mode if it was
    measured, else the last measured mode.
    """
    folder.mkdir(parents=True, exist_ok=True)
    last = measured.rows[-1]
    precision, got = last.precision, measured.predictions[last.precision]
    loaded = ModelPackage.load(package)
    default = loaded.manifest.default_mode
    mode = default if default in got.by_mode else last.mode
    own = got.by_mode[mode]
    reliability_diagram(
        own.probabilities.ravel(),
        got.truth.ravel(),
        folder / "reliability.png",
        "answers",
        f"{precision}, {mode}",
    )
    names = distinct_names(measured.manifest.labels)
    worst = _worst(own, got)
    thumbnails(
        [(got.paths[n], _caption(names, own.present[n], got.truth[n])) for n in worst],
        folder / "mistakes.png",
    )
    text = _markdown(loaded, measured, precision, mode) + learning_curves(measured.manifest, folder)
    (folder / "report.md").write_text(text, encoding="utf-8")
    return folder / "report.md"


def _markdown(
    package: ModelPackage, measured: LabelEvaluation, precision: Precision, mode: Mode
) -> str:
    manifest, got = measured.manifest, measured.predictions[precision]
    own = got.by_mode[mode]
    (row,) = [r for r in measured.rows if (r.precision, r.mode) == (precision, mode)]
    each = zip(
        distinct_names(manifest.labels),
        got.truth.sum(0),
        row.scores.average_precision,
        f1(own.present, got.truth),
        strict=True,
    )
    lines = [
        f"# {manifest.name}@{manifest.version} on {len(got.truth)} images, multi-label",
        "",
        *bullets(settings.lines(package, measured.predictions)),
        f"Views are aggregated by `{measured.aggregate}`; F1 at the thresholds of the package.",
        "",
        table(COLUMNS, (row.cells() for row in measured.rows)),
        "",
        *bullets(measured.left_out.lines()),
        f"## {precision}, {mode}",
        "",
        "![Reliability](reliability.png)",
        "",
        table(
            ("class", "images", "average precision %", "F1 %"),
            ((name, count, _percent(ap), _percent(f)) for name, count, ap, f in each),
            "lrrr",
        ),
        "",
        "The wrong answers whose true labels got the lowest probability:",
        "",
        "![Mistakes](mistakes.png)",
    ]
    return "\n".join([*lines, ""])


def _percent(value: float) -> str:
    return "" if np.isnan(value) else f"{100 * value:.2f}"


def _worst(own: LabelAnswers, got: LabelPredictions) -> list[int]:
    """The images with wrong answers, the least likely truth first."""
    given = np.where(got.truth, own.probabilities, 1 - own.probabilities)
    wrong = np.flatnonzero((own.present != got.truth).any(1))
    return [int(n) for n in wrong[np.argsort(given[wrong].min(1), kind="stable")][:WORST]]


def _caption(names: list[str], present: np.ndarray, truth: np.ndarray) -> str:
    said, true = (
        ", ".join(names[k] for k in np.flatnonzero(row)) or "none" for row in (present, truth)
    )
    return f"{caption(said, CAPTION_LETTERS)}\nis {caption(true, CAPTION_LETTERS - 3)}"
