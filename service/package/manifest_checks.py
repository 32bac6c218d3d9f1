"""Checks over several parts of a manifest: contradictions that one field alone cannot show."""

import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from service.package.task_rules import TASK_RULES

if TYPE_CHECKING:
    from service.package.manifest import Gate, Manifest, ModeCalibration

VIEWS = {"none": 1, "five_crop": 5, "ten_crop": 10, "dense": 5, "centre_dense": 6}
"""Views or windows of each mode that has a fixed number of them."""
SUM_TOLERANCE = 1e-3

Value = TypeVar("Value")


def check(manifest: "Manifest") -> None:
    """Refuse a manifest whose parts contradict each other.

    Raises:
        ValueError: with one sentence that names the first contradiction.
    """
    _check_labels(manifest)
    _check_files(manifest)
    _check_metrics(manifest)
    _once((f"{c.precision} {c.mode}" for c in manifest.calibration), "calibration")
    for entry in manifest.calibration:
        where = f"the calibration of {entry.mode} at {entry.precision}"
        _check_calibration(entry, manifest, where)
    _check_adaptive(manifest)
    _check_unknown(manifest)


def _check_labels(manifest: "Manifest") -> None:
    labels = manifest.labels
    if [label.index for label in labels] != list(range(len(labels))):
        raise ValueError("label indices must count up from 0")
    if twice := repeated(unicodedata.normalize("NFC", label.id) for label in labels):
        raise ValueError(f"label ids must differ, but {twice[0]!r} is there more than once")
    if TASK_RULES[manifest.task].ids_share_a_cell:
        for label in labels:
            if ";" in label.id or label.id != label.id.strip():
                raise ValueError(
                    "the label ids of a multi-label model must not contain ';' or outer spaces, "
                    f"because tables separate labels by ';', but got {label.id!r}"
                )


def _check_files(manifest: "Manifest") -> None:
    _once((file.precision for file in manifest.files), "files")
    _once((file.file for file in manifest.files), "files")
    followers = {file.precision for file in manifest.files if file.calibrated_as}
    for file in manifest.files:
        if file.calibrated_as in followers:
            raise ValueError(
                f"{file.file} is calibrated_as {file.calibrated_as}, which has no calibration of "
                "its own, because it is calibrated_as a third precision"
            )


def _check_metrics(manifest: "Manifest") -> None:
    foreign = TASK_RULES[manifest.task].foreign_metrics
    if getattr(manifest, foreign):
        raise ValueError(f"a {manifest.task} model has no {foreign}")
    _once((f"{row.precision} {row.mode}" for row in manifest.metrics), "metrics")
    rows = manifest.multi_label_metrics
    _once((f"{row.precision} {row.mode}" for row in rows), "multi_label_metrics")
    intervals = [(row, row.top1_interval) for row in manifest.metrics]
    intervals += [(row, row.map_interval) for row in rows]
    for row, (low, high) in intervals:
        if low > high:
            raise ValueError(f"the interval of {row.mode} at {row.precision} ends before it begins")
    ids = {label.id for label in manifest.labels}
    for row in rows:
        if strangers := row.average_precision.keys() - ids:
            raise ValueError(
                f"multi_label_metrics name {min(strangers)!r}, which is the id of no label"
            )


def _check_calibration(entry: "ModeCalibration", manifest: "Manifest", where: str) -> None:
    rules = TASK_RULES[manifest.task]
    if any(getattr(entry, name) for name in rules.not_fitted):
        raise ValueError(f"{where} has {rules.not_fitted_text}, but the model is {manifest.task}")
    classes = len(manifest.labels)
    for how, thresholds in entry.thresholds.items():
        if len(thresholds) != classes:
            raise ValueError(
                f"there must be a threshold for each of {classes} classes, but "
                f"{entry.mode} at {entry.precision} has {len(thresholds)} for {how}"
            )
    if entry.view_weights is not None:
        _check_weights(entry.view_weights, VIEWS.get(entry.mode), where)
    if entry.mode != "adaptive" and (entry.gate or entry.gate_curve):
        raise ValueError(f"{where} has a gate, but only adaptive has one")
    _check_coverages(entry.conformal, where)
    gates: list[Gate] = [*entry.gate_curve, *([entry.gate] if entry.gate else [])]
    for gate in gates:
        _check_coverages(gate.conformal, where)


def _check_weights(weights: Sequence[float], views: int | None, where: str) -> None:
    if views is None:
        raise ValueError(f"{where} has view_weights, but that mode has no fixed number of views")
    if len(weights) != views:
        raise ValueError(f"{where} has {len(weights)} view_weights for {views} views")
    if abs(sum(weights) - 1) > SUM_TOLERANCE:
        raise ValueError(f"{where} has view_weights that sum to {sum(weights):g}, not to 1")


def _check_coverages(quantiles: dict[str, float], where: str) -> None:
    for coverage in quantiles:
        try:
            number = float(coverage)
        except ValueError:
            number = math.nan
        if not 0 < number < 1 or f"{number:g}" != coverage:
            raise ValueError(
                f"{where} has a quantile for coverage {coverage!r}; a coverage is a number between "
                '0 and 1, written as "0.95"'
            )
    ranked = [quantiles[coverage] for coverage in sorted(quantiles, key=float)]
    if ranked != sorted(ranked):
        raise ValueError(f"{where} has a smaller quantile for a larger coverage")


def _check_adaptive(manifest: "Manifest") -> None:
    if manifest.default_mode == "custom":
        raise ValueError("default_mode cannot be custom: a request without boxes has no such views")
    if manifest.default_mode == "adaptive":
        if not TASK_RULES[manifest.task].adaptive:
            raise ValueError(
                f"default_mode is adaptive, which a {manifest.task} model does not have"
            )
        if not any(entry.gate for entry in manifest.calibration):
            raise ValueError("default_mode is adaptive, but no calibration has a gate")


def _check_unknown(manifest: "Manifest") -> None:
    unknown, classes = manifest.unknown, len(manifest.labels)
    if unknown is not None and manifest.graph.embedding is None:
        raise ValueError("unknown needs embeddings, but the manifest has no graph.embedding")
    if unknown is not None and unknown.file in {file.file for file in manifest.files}:
        raise ValueError(f"unknown.file is {unknown.file}, which is a graph")
    for entry in manifest.calibration:
        where = f"the calibration of {entry.mode} at {entry.precision}"
        if entry.unknown_curve and unknown is None:
            raise ValueError(f"{where} has an unknown_curve, but the manifest has no unknown part")
        if unknown and entry.unknown_curve:
            lowest, highest = entry.unknown_curve[0][0], entry.unknown_curve[-1][0]
            if not lowest <= unknown.known_rate <= highest:
                raise ValueError(
                    f"{where} has an unknown_curve from {lowest:g} to {highest:g}, which does not "
                    f"reach unknown.known_rate {unknown.known_rate:g}"
                )
        if entry.reference and len(entry.reference.classes) != classes:
            raise ValueError(
                f"{where} has a reference of {len(entry.reference.classes)} classes, but there "
                f"are {classes} labels"
            )


def _once(names: Iterable[str], where: str) -> None:
    if twice := repeated(names):
        raise ValueError(f"{where} has {twice[0]} more than once")


def repeated(values: Iterable[Value]) -> list[Value]:
    """The values that occur more than once, in the order of their first occurrence."""
    return [value for value, count in Counter(values).items() if count > 1]
