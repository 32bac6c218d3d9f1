"""Fit the modes that run the same passes for every image: all except `adaptive`."""

from dataclasses import dataclass

from service.inference.tta.aggregate import aggregate_mode, softmax
from service.package.manifest import Mode, ModeCalibration, Precision
from training.calibration import fitting, tempering
from training.calibration.calibration_logits import CalibrationLogits
from training.evaluation.metrics import Probabilities


@dataclass(frozen=True)
class FittedMode:
    """What was fitted for a mode, and its answers for the N calibration images: float64[N, K]."""

    entry: ModeCalibration
    probabilities: Probabilities
    crossed: Probabilities
    """The same, each fold of the images with what was fitted on the other folds."""


def fit(
    precision: Precision, mode: Mode, logits: CalibrationLogits, folds: tempering.Folds
) -> FittedMode:
    """Fit the temperature, the weights of the views and the prediction sets of `mode`."""
    views, labels = logits.views[mode], logits.labels
    raw = aggregate_mode(views, "mean", ModeCalibration(precision=precision, mode=mode))
    fitted = tempering.fit(raw, labels, folds)
    several = views.shape[1] > 1
    probabilities = fitted.of(raw)
    entry = ModeCalibration(
        precision=precision,
        mode=mode,
        temperature=fitted.temperature,
        temperature_power=fitted.power,
        view_weights=fitting.view_weights(softmax(views), labels) if several else None,
        conformal=logits.quantiles(probabilities),
    )
    crossed = tempering.cross_fitted(raw, labels, folds, fitted.power > 0)
    return FittedMode(entry, probabilities, crossed)
