"""The parts of the model card that repeat what was measured and fitted."""

from collections.abc import Sequence
from typing import Any

from service.console.markdown import table
from service.inference.unknown import Curve, threshold_at
from service.package.card import paired_table
from service.package.manifest import Manifest, Metrics, ModeCalibration
from service.package.recorded.metrics import PAIRS, Row, reference_of
from service.package.recorded.sets import letters
from service.package.task_rules import TASK_RULES

CARD_RATES = (0.9, 0.95, 0.99)
"""Known rates whose thresholds the card lists."""


def metrics(manifest: Manifest) -> str:
    """Accuracy and likelihood of every measured mode, and the paired comparisons."""
    if not manifest.metrics:
        return ""
    with_top5 = any(m.top5 is not None for m in manifest.metrics)
    sets = letters(manifest.metrics)
    rows = [
        (
            m.precision,
            m.mode,
            f"{m.top1:.2%} ({m.top1_interval[0]:.2%} to {m.top1_interval[1]:.2%})",
            *(["" if m.top5 is None else f"{m.top5:.2%}"] if with_top5 else []),
            _number(m.nll),
            _number(m.ece),
            f"{m.images}{_in_set(sets, index)}",
        )
        for index, m in enumerate(manifest.metrics)
    ]
    columns = ["precision", "TTA", "top-1 (95% interval)", *(["top-5"] if with_top5 else [])]
    columns += ["NLL", "ECE", "images"]
    return (
        f"## Measured on the validation set\n\n{table(columns, rows)}\n\n"
        f"{_compared(manifest.metrics)}{_notes(manifest.metrics)}"
        "TTA: test-time augmentation, the mode in which crops are combined. NLL: mean negative "
        "log-likelihood of the true class. ECE: expected calibration error, the mean gap between "
        "stated probability and accuracy. Lower is better for both."
    )


def _compared(measured: Sequence[Metrics]) -> str:
    """The paired comparisons, if there are any."""
    rows = [
        (m.precision, m.mode, name, *paired_table.cells(pair))
        for m in measured
        for name, pair in _references(m)
        if pair
    ]
    if not rows:
        return ""
    columns = ("precision", "TTA", "compared with", *paired_table.COLUMNS)
    return (
        f"{table(columns, rows)}\n\n"
        f"Compared on the same images; `none` is the single crop. {paired_table.LEGEND}\n\n"
    )


def _references(row: Row) -> list[tuple[str, Any]]:
    """What a row is compared with: the name of the reference, and the comparison."""
    return [(" ".join(reference_of(row, pair)), getattr(row, pair)) for pair in PAIRS]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2%}"


def _in_set(sets: Sequence[str], index: int) -> str:
    return f" ({sets[index]})" if sets else ""


def _notes(rows: Sequence[Row]) -> str:
    """Sentences on rows that were not measured together, or before the last calibration."""
    text = ""
    if letters(rows):
        text += (
            "The rows were measured on different images: compare only rows with the same letter "
            "after the number of images.\n\n"
        )
    if any(row.nll is None for row in rows):
        text += (
            "Empty cells: the confidence was calibrated again after the measurement. The accuracy "
            "still holds.\n\n"
        )
    return text


def label_metrics(manifest: Manifest) -> str:
    """The same for a multi-label model: average precision and F1."""
    if not manifest.multi_label_metrics:
        return ""
    sets = letters(manifest.multi_label_metrics)
    rows = [
        (
            m.precision,
            m.mode,
            f"{m.map:.2%} ({m.map_interval[0]:.2%} to {m.map_interval[1]:.2%})",
            _share(m.micro_f1),
            _share(m.macro_f1),
            _number(m.nll),
            f"{m.images}{_in_set(sets, index)}",
        )
        for index, m in enumerate(manifest.multi_label_metrics)
    ]
    columns = (
        "precision", "TTA", "mean average precision (95% interval)", "micro F1", "macro F1",
        "binary NLL", "images",
    )  # fmt: skip
    compared = [
        (m.precision, m.mode, name, paired_table.difference(pair))
        for m in manifest.multi_label_metrics
        for name, pair in _references(m)
        if pair
    ]
    paired = (
        f"{table(('precision', 'TTA', 'compared with', 'difference (95%)'), compared)}\n\n"
        "Compared on the same images, in percentage points of mean average precision; `none` is "
        "the single crop.\n\n"
        if compared
        else ""
    )
    last = manifest.multi_label_metrics[-1]
    names = {label.id: label.name for label in manifest.labels}
    each = [(names[id], f"{value:.2%}") for id, value in last.average_precision.items()]
    return (
        f"## Measured on the validation set\n\n{table(columns, rows)}\n\n{paired}"
        f"{_notes(manifest.multi_label_metrics)}"
        f"Of {last.precision}, `{last.mode}`:\n\n{table(('class', 'average precision'), each)}"
    )


def calibration(manifest: Manifest) -> str:
    """What was fitted on held-out images."""
    if not manifest.calibration:
        return ""
    gated = TASK_RULES[manifest.task].adaptive
    return gates(manifest) if gated else thresholds(manifest)


def unknown(manifest: Manifest) -> str:
    """How the package says that none of its classes fits, and from which score on."""
    model = manifest.unknown
    if model is None:
        return ""
    rows = [
        (c.precision, c.mode, *(_threshold(c.unknown_curve, rate) for rate in CARD_RATES))
        for c in manifest.calibration
        if c.unknown_curve
    ]
    where = "training" if model.held_out else "calibration"
    text = (
        f"Fitted on {model.images} {where} images; the thresholds come from the calibration "
        "images. No images of other things were used. An image is unknown if its score is above "
        f"the threshold. By default {model.known_rate:.0%} of images of the model's classes are "
        "accepted (`known_rate`)."
    )
    columns = ("precision", "TTA", *(f"threshold at {rate:g}" for rate in CARD_RATES))
    return f"## Unknown images\n\n{text}\n\n{table(columns, rows)}"


def _threshold(curve: Curve, rate: float) -> str:
    """Empty if the few calibration images cannot show the rate."""
    return f"{threshold_at(curve, rate):.3f}" if curve[0][0] <= rate <= curve[-1][0] else ""


def gates(manifest: Manifest) -> str:
    """The section of a single-label model: temperatures, gates and prediction sets."""
    rows = [
        (
            c.precision,
            c.mode,
            _temperature(c),
            f"{c.gate.kind} ≥ {c.gate.threshold:.3f}, cost {c.gate.expected_cost:.2f}"
            if c.gate
            else "",
            ", ".join(sorted(c.conformal)),
        )
        for c in manifest.calibration
    ]
    columns = ("precision", "TTA", "temperature", "gate", "prediction sets of coverage")
    powered = any(c.temperature_power for c in manifest.calibration)
    legend = (
        "\n\nH: the entropy of an answer, as a share of the largest possible. Unsure answers get a "
        "larger temperature."
    )
    return (
        f"## Calibration\n\n{_fitted_on(manifest)}\n\n{table(columns, rows)}"
        f"{legend if powered else ''}"
    )


def _fitted_on(manifest: Manifest) -> str:
    """The images that the calibration is fitted on."""
    facts: dict[str, Any] = manifest.provenance.get("calibration") or {}
    others = facts.get("networks", 1) - 1
    if others < 1:
        return "Fitted on images held out of training."
    return (
        f"Fitted by cross-fitting on {facts['images']} images, because few were held out of "
        f"training: {others} other networks answered for images that they were not trained on. "
        "They had fewer images to learn from than this network. So its confidence may be a little "
        "too low, and its prediction sets a little too large."
    )


def _temperature(fitted: ModeCalibration) -> str:
    power = f" × H^{fitted.temperature_power:.2f}" if fitted.temperature_power else ""
    return f"{fitted.temperature:.3f}{power}"


def thresholds(manifest: Manifest) -> str:
    """The section of a multi-label model: temperatures and thresholds."""
    rows = [
        (c.precision, c.mode, f"{c.temperature:.3f}", f"{min(limits):.3f} to {max(limits):.3f}")
        for c in manifest.calibration
        if (limits := c.thresholds.get("mean"))
    ]
    columns = ("precision", "TTA", "temperature", "thresholds of the classes")
    return f"## Calibration\n\n{_fitted_on(manifest)}\n\n{table(columns, rows)}"
