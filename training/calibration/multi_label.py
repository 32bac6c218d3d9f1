"""Fit temperatures, thresholds and view weights of a multi-label package on held-out images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.errors import UsageError
from service.inference.image.geometry import Size
from service.inference.image.views import AnyImage, size_of
from service.inference.predictor import Predictor
from service.inference.tta.aggregate import aggregate_mode, all_views, temper
from service.inference.tta.passes import read_passes
from service.inference.tta.task import MULTI_LABEL
from service.package.manifest import Aggregation, Manifest, Mode, ModeCalibration, Precision
from service.package.package import ModelPackage
from service.package.reference import reference_of
from training.calibration import multi_label_fitting as fitting
from training.calibration.calibration_logits import plain_modes
from training.cross_fit.fold import Fold, with_calibration
from training.evaluation.metrics import Probabilities
from training.evaluation.multi_label_metrics import (
    Truth,
    average_precisions,
    binary_nll,
    mean_of_known,
)
from training.evaluation.multi_label_predictions import truth_of
from training.evaluation.predictions import LabelledFile, collect
from training.export.change import write_change

DEFAULTS: tuple[Mode, ...] = ("none", "five_crop", "dense")
AGGREGATIONS: tuple[Aggregation, ...] = ("mean", "max", "gmean", "logit_mean", "weighted")
MAP_TOLERANCE, NLL_TOLERANCE = 0.002, 0.01
"""How much worse the default mode may be than the best, in mean average precision and in nats."""


@dataclass(frozen=True)
class MultiLabelLogits:
    """Logits of every view of every mode for N calibration images: float64[N, V, K] per mode."""

    truth: Truth
    views: dict[Mode, NDArray[np.float64]]
    costs: dict[Mode, float]
    unreadable: dict[Path, str] = field(default_factory=dict)
    """The images that can no longer be decoded, each with its reason."""

    @classmethod
    def joined(cls, parts: Sequence["MultiLabelLogits"]) -> "MultiLabelLogits":
        """The logits of several networks, each for other images, as if one network gave them."""
        first = parts[0]
        return cls(
            truth=np.concatenate([part.truth for part in parts]),
            views={
                mode: np.concatenate([part.views[mode] for part in parts]) for mode in first.views
            },
            costs=first.costs,
            unreadable={path: why for part in parts for path, why in part.unreadable.items()},
        )


def calibrate(
    folder: Path,
    sources: Sequence[Fold],
    _training: object,
    _tolerance: object,
    _budgets: object,
    default_mode: Mode | None,
    log: Callable[[str], None],
) -> Manifest:
    """Fit every precision and mode of the package in `folder`; write its manifest.

    `sources` are the package or others, each with images: see `calibrate.calibrate`.

    Training images are for the unknown score, tolerance and budgets for `adaptive`. A multi-label
    package has neither.

    Raises:
        DataError: a class that the model does not have, or no readable image.
        UsageError: multi-label packages cannot have this `default_mode`.
    """
    package = ModelPackage.load(folder)
    modes = plain_modes(package.manifest)
    if default_mode is not None and default_mode not in modes:
        raise UsageError(f"the default mode must be of {', '.join(modes)}, but got {default_mode}")
    logits: dict[Precision, MultiLabelLogits] = {
        precision: MultiLabelLogits.joined(
            [collect_logits(fold.package, precision, fold.items) for fold in sources]
        )
        for precision in package.precisions
    }
    for path, reason in next(iter(logits.values())).unreadable.items():
        log(f"skipped {path}: {reason}")
    leading: Precision = "int8" if "int8" in logits else package.precisions[0]
    entries = tuple(_fit(p, mode, m) for p, m in logits.items() for mode in m.views)
    for entry in entries:
        limits = entry.thresholds["mean"]
        log(
            f"  {entry.precision} {entry.mode}: temperature {entry.temperature:.3f}, thresholds "
            f"{min(limits):.3f} to {max(limits):.3f}"
        )
    fitted: dict[Mode, ModeCalibration] = {
        entry.mode: entry for entry in entries if entry.precision == leading
    }
    changed = {
        "calibration": entries,
        "provenance": with_calibration(package.manifest, sources),
        "adaptive": None,
        "default_mode": default_mode or _default_mode(logits[leading], fitted),
    }
    return write_change(package, package.manifest.model_copy(update=changed), log)


def collect_logits(
    folder: Path, precision: Precision, items: Sequence[LabelledFile]
) -> MultiLabelLogits:
    """Run every pass of every mode once over `items`."""
    predictor = Predictor.from_package(folder, precision=precision, provider="cpu")
    planner, modes = predictor.model.planner, plain_modes(predictor.manifest)
    truth_of(items, predictor.manifest)  # raises before anything is run

    def start(pixels: AnyImage):
        return [read_passes(pixels, planner.passes(mode, size_of(pixels))) for mode in modes]

    kept, reads, unreadable = collect(predictor, items, start, f"calibrating {precision}")
    side_px = predictor.manifest.input.resize_px
    square = Size(side_px, side_px)
    return MultiLabelLogits(
        truth=truth_of(kept, predictor.manifest),
        views={
            mode: np.stack([all_views(own[i].logits, mode) for own in reads]).astype(np.float64)
            for i, mode in enumerate(modes)
        },
        costs={mode: planner.cost(planner.passes(mode, square)) for mode in modes},
        unreadable=unreadable,
    )


def _fit(precision: Precision, mode: Mode, logits: MultiLabelLogits) -> ModeCalibration:
    """Fit the temperature for `mean`, the default aggregation. All aggregations use it. Then fit
    thresholds for each aggregation."""
    views, truth = logits.views[mode], logits.truth
    plain = ModeCalibration(precision=precision, mode=mode)
    raw = aggregate_mode(views, "mean", plain, MULTI_LABEL)
    temperature = round(fitting.temperature(raw, truth), 6)
    weights = None
    if views.shape[1] > 1:
        weights = fitting.view_weights(MULTI_LABEL.probabilities(views), truth)
    weighted = plain.model_copy(update={"view_weights": weights})
    answered = temper(raw, temperature, MULTI_LABEL)
    return ModeCalibration(
        precision=precision,
        mode=mode,
        temperature=temperature,
        view_weights=weights,
        reference=reference_of(answered),
        thresholds={
            how: fitting.thresholds(
                temper(aggregate_mode(views, how, weighted, MULTI_LABEL), temperature, MULTI_LABEL),
                truth,
            )
            for how in AGGREGATIONS
            if how != "weighted" or weights
        },
    )


def _default_mode(logits: MultiLabelLogits, fitted: dict[Mode, ModeCalibration]) -> Mode:
    """The cheapest mode whose answers are about as good as the best mode's."""
    losses: dict[Mode, float] = {}
    precisions: dict[Mode, float] = {}
    defaults: list[Mode] = [mode for mode in DEFAULTS if mode in fitted]
    for mode in defaults:
        raw = aggregate_mode(logits.views[mode], "mean", fitted[mode], MULTI_LABEL)
        answered: Probabilities = temper(raw, fitted[mode].temperature, MULTI_LABEL)
        losses[mode] = binary_nll(answered, logits.truth)
        precisions[mode] = mean_of_known(average_precisions(answered, logits.truth))
    best = min(defaults, key=lambda mode: losses[mode])
    good: list[Mode] = [
        mode
        for mode in defaults
        if losses[mode] <= losses[best] + NLL_TOLERANCE
        and precisions[mode] >= precisions[best] - MAP_TOLERANCE
    ]
    return min(good, key=lambda mode: logits.costs[mode])
