"""fp16 agrees with fp32: rounding is accepted, whatever the pictures; lost numbers are refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from service.inference.fp16.agreement import between, drawn
from service.inference.tta.task import TASKS
from service.package.manifest import TaskName

SINGLE = TASKS["single_label"]
ROUNDING = 3e-3
"""Of the largest logit: the most that was seen for fp16, in xresnets, EfficientNets, MobileNets."""


def rounded(logits: np.ndarray, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).uniform(-1, 1, logits.shape)
    return logits + ROUNDING * np.abs(logits).max() * noise


def logits_of(pictures: int = 16, classes: int = 10, scale: float = 15.0) -> np.ndarray:
    return scale * np.random.default_rng(1).uniform(-1, 1, (pictures, classes))


def test_a_picture_between_two_classes_does_not_refuse_a_graph_that_only_rounds() -> None:
    logits = logits_of()
    logits[3] = -20
    logits[3, :2] = 20
    got = logits.copy()
    got[3, 0] += ROUNDING * 20
    got[3, 1] -= ROUNDING * 20
    moved = np.abs(SINGLE.probabilities(logits) - SINGLE.probabilities(got)).max()
    assert moved > 0.02
    assert between(logits, got, SINGLE).good


@pytest.mark.parametrize("task", ["single_label", "multi_label"])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 20.0])
def test_rounding_is_accepted(task: TaskName, scale: float) -> None:
    logits = logits_of(scale=scale)
    assert between(logits, rounded(logits), TASKS[task]).good


def test_numbers_too_small_for_float16_are_found_where_probabilities_do_not_move() -> None:
    """An untrained MobileNetV2 of torchvision has logits of 5e-9; in float16 all of them are 0."""
    logits = logits_of(scale=5e-9)
    seen = between(logits, np.zeros_like(logits), SINGLE)
    assert seen.probabilities < 1e-8
    assert not seen.good


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 65504.0])
def test_one_number_that_overflows_is_found(value: float) -> None:
    logits = logits_of()
    got = logits.copy()
    got[7, 3] = value
    with np.errstate(invalid="ignore"):
        assert not between(logits, got, SINGLE).good


def test_a_large_constant_in_all_logits_hides_no_difference() -> None:
    logits = logits_of(scale=1.0)
    assert not between(logits + 1000, logits[:, ::-1] + 1000, SINGLE).good
    assert between(logits + 1000, rounded(logits) + 1000, SINGLE).good


def test_equal_logits_agree_also_where_all_are_the_same() -> None:
    logits = np.full((16, 1), 3.0)
    assert between(logits, logits, TASKS["multi_label"]).good
    assert not between(logits, logits + 1, TASKS["multi_label"]).good


@given(
    arrays.arrays(np.float64, (16, 4), elements=st.floats(-30, 30)),
    st.integers(0, 15),
    st.integers(0, 3),
)
def test_an_answer_that_changes_is_never_accepted(
    logits: np.ndarray, picture: int, label: int
) -> None:
    got = logits.copy()
    got[picture, label] += np.ptp(logits) + 1
    assert not between(logits, got, SINGLE).good


@pytest.mark.parametrize("side_px", [16, 64, 224])
def test_pictures_are_from_fine_to_flat(side_px: int) -> None:
    batches = list(drawn(side_px))
    assert {batch.shape for batch in batches} == {(4, side_px, side_px, 3)}
    steps = [np.abs(np.diff(batch.astype(int), axis=2)).mean() for batch in batches]
    assert steps == sorted(steps, reverse=True)
    assert steps[-1] == 0
