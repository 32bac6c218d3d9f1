"""The answers of a calibrated package to the calibration images, from their stored logits."""

from dataclasses import dataclass

import numpy as np

from service.inference.tta.aggregate import aggregate_mode, blend, softmax, temper
from service.inference.tta.evidence import Evidence, blended
from service.inference.tta.gate import gate_value
from service.package.manifest import Manifest, Mode, ModeCalibration, Precision
from training.calibration.calibration_logits import CalibrationLogits
from training.evaluation.metrics import Probabilities


@dataclass(frozen=True)
class ModeAnswers:
    """What a mode answers to N calibration images, without their mirror images."""

    probabilities: Probabilities
    """float64[N, K], calibrated."""
    evidence: Evidence | None
    """What the unknown score is computed from: [N, C] and [N, K]. None without embeddings."""


def answers_of(
    manifest: Manifest, precision: Precision, mode: Mode, logits: CalibrationLogits
) -> ModeAnswers:
    """The answers as they are served, with what `manifest` has for this mode."""
    if mode == "adaptive":
        return _adaptive(manifest, precision, logits)
    return ModeAnswers(_plain(manifest, precision, mode, logits), logits.evidence.get(mode))


def _plain(
    manifest: Manifest, precision: Precision, mode: Mode, logits: CalibrationLogits
) -> Probabilities:
    fitted = manifest.calibration_for(precision, mode)
    views = logits.views[mode][: logits.images]
    return _tempered(aggregate_mode(views, "mean", fitted), fitted)


def _adaptive(manifest: Manifest, precision: Precision, logits: CalibrationLogits) -> ModeAnswers:
    config, fitted = manifest.adaptive, manifest.calibration_for(precision, "adaptive")
    if config is None or fitted.gate is None:
        raise ValueError("adaptive has no gate")
    first = logits.first_pass(config)
    own = first.logits[: logits.images]
    alone = _tempered(softmax(own), fitted)
    both = blend(alone, _plain(manifest, precision, config.second, logits), fitted.second_share)
    trusted = (gate_value(own, fitted.gate.kind) >= fitted.gate.threshold)[:, None]
    probabilities = np.where(trusted, alone, temper(both, fitted.second_temperature))
    mixed = blended(first.evidence, logits.evidence.get(config.second), fitted.second_share)
    if first.evidence is None or mixed is None:
        return ModeAnswers(probabilities, None)
    return ModeAnswers(
        probabilities,
        Evidence(
            np.where(trusted, first.evidence.embedding, mixed.embedding),
            np.where(trusted, first.evidence.logits, mixed.logits),
        ),
    )


def _tempered(raw: Probabilities, fitted: ModeCalibration) -> Probabilities:
    return temper(raw, fitted.temperature, power=fitted.temperature_power)
