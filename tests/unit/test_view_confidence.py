"""The probabilities of single views are tempered as the answer is, so both can be compared."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.inference.predictor import Predictor
from service.inference.tta.aggregate import temper
from service.inference.tta.task import MULTI_LABEL
from service.package.manifest import Manifest, Mode
from tests.support.images import coloured, drawn
from tests.support.tiny import tiny_package

MODES: tuple[Mode, ...] = ("none", "five_crop", "ten_crop", "dense", "centre_dense", "adaptive")


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """A package whose temperatures depend on mode and answer, and whose blends are tempered."""
    folder = tiny_package(tmp_path_factory.mktemp("views") / "tiny")
    file = folder / "manifest.json"
    manifest = Manifest.model_validate_json(file.read_bytes())
    fitted = [
        one.model_copy(
            update={
                "temperature": 1.6 + 0.2 * MODES.index(one.mode),
                "temperature_power": 0.3,
                "second_share": 0.6,
                "second_temperature": 0.8 if one.mode == "adaptive" else 1.0,
            }
        )
        for one in manifest.calibration
        if one.mode in MODES
    ]
    file.write_text(manifest.model_copy(update={"calibration": tuple(fitted)}).model_dump_json())
    return Predictor.from_package(folder, precision="fp32", provider="cpu")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("grey", [100, 108, 116])
def test_views_that_agree_are_as_sure_as_the_answer(
    predictor: Predictor, mode: Mode, grey: int
) -> None:
    image = np.full((100, 130, 3), (grey, 104, 112), np.uint8)  # every view sees the same
    answer = predictor.classify([image], mode)[0].answer
    each = np.stack([view.probabilities for view in answer.views])
    if answer.gate_open:  # both passes have temperatures of their own: the answer lies between
        assert (each.min(0) - 0.002 <= answer.probabilities).all()
        assert (answer.probabilities <= each.max(0) + 0.002).all()
    else:
        np.testing.assert_allclose(each, np.tile(answer.probabilities, (len(each), 1)), atol=1e-5)
    for view in answer.views:
        assert np.abs(view.probabilities - view.raw).max() > 0.005, "no temperature was used"


def test_both_sides_of_the_gate_are_tested_above(predictor: Predictor) -> None:
    unsure, sure = np.full((100, 130, 3), 108, np.uint8), coloured("red")
    opened = [one.answer.gate_open for one in predictor.classify([unsure, sure], "adaptive")]
    assert opened == [True, False]


@settings(max_examples=15)
@given(seed=st.integers(0, 1000), mode=st.sampled_from(MODES))
def test_one_view_is_the_answer_and_views_of_a_mode_share_its_temperature(
    predictor: Predictor, seed: int, mode: Mode
) -> None:
    answer = predictor.classify([drawn(90, 120, seed)], mode)[0].answer
    if len(answer.views) == 1:
        np.testing.assert_allclose(answer.views[0].probabilities, answer.probabilities, atol=1e-9)
    for view in answer.views:
        assert view.probabilities.argmax() == view.raw.argmax()
        assert view.probabilities.sum() == pytest.approx(1)
        if not answer.gate_open:
            fitted = predictor.model.calibration(mode)
            expected = temper(view.raw, fitted.temperature, power=fitted.temperature_power)
            np.testing.assert_allclose(view.probabilities, expected, atol=1e-9)


def test_views_of_a_multi_label_model_are_tempered_too(tmp_path: Path) -> None:
    folder = tiny_package(tmp_path / "several", task="multi_label", int8=False)
    predictor = Predictor.from_package(folder, provider="cpu")
    answer = predictor.classify([drawn(90, 120, 1)], "five_crop")[0].answer
    for view in answer.views:
        expected = temper(view.raw, 1.25, MULTI_LABEL)
        np.testing.assert_allclose(view.probabilities, expected, atol=1e-9)
