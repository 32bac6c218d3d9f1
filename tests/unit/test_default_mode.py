"""The default mode: `adaptive`, unless a dearer mode is better beyond doubt."""

import numpy as np
import pytest

from service.package.manifest import Gate, Mode, ModeCalibration
from training.calibration.adaptive import Fitted
from training.calibration.calibrate import _default_mode
from training.calibration.calibration_logits import CalibrationLogits
from training.calibration.plain import FittedMode
from training.calibration.tolerance import Tolerance

COSTS: dict[Mode, float] = {"none": 1.0, "dense": 1.4, "centre_dense": 2.4, "five_crop": 5.0}
IMAGES = 400
"""And as many mirror images."""


def answers(right: float) -> np.ndarray:
    """Answers to images of class 0, of which a share is right; those are the first ones."""
    of_class_0 = np.where(np.arange(IMAGES) < right * IMAGES, 0.9, 0.2)
    return np.tile(np.stack([of_class_0, 1 - of_class_0], axis=1), (2, 1))


def default_mode(adaptive: float, cost: float, **right: float) -> Mode:
    plain: dict[Mode, FittedMode] = {}
    for mode in COSTS:
        entry = ModeCalibration(precision="int8", mode=mode)
        got = answers(right.get(mode, 0.9))
        plain[mode] = FittedMode(entry, got, got)
    gate = Gate(kind="margin", threshold=0.5, expected_cost=cost)
    entry = ModeCalibration(precision="int8", mode="adaptive", gate=gate)
    fitted = Fitted(entry, gate, True, answers(adaptive), 0.1, 0.0)
    labels = np.zeros(2 * IMAGES, dtype=np.int64)
    logits = CalibrationLogits(labels, {}, dict(COSTS), ())
    return _default_mode(plain, logits, fitted, Tolerance(), cheaper=cost < 1)


@pytest.mark.parametrize(
    ("right", "expected"),
    [
        ({}, "adaptive"),
        ({"five_crop": 0.903}, "adaptive"),  # one image more: it may be luck
        ({"five_crop": 0.95}, "five_crop"),
        ({"dense": 0.95, "five_crop": 0.952}, "dense"),  # five_crop adds nothing that is certain
    ],
)
def test_a_dearer_mode_must_be_better_beyond_doubt(right: dict[str, float], expected: Mode) -> None:
    assert default_mode(0.9, 1.15, **right) == expected


def test_a_gate_that_opens_for_its_likelihood_is_the_default_at_equal_accuracy() -> None:
    assert default_mode(0.897, 1.15) == "adaptive"  # one lost answer is no evidence


def test_a_gate_that_stays_closed_is_the_single_crop() -> None:
    assert default_mode(0.9, 1.0) == "none"


def test_cheaper_passes_that_lose_answers_are_not_the_default() -> None:
    assert default_mode(0.9, 0.7) == "adaptive"
    assert default_mode(0.88, 0.7) == "none"
