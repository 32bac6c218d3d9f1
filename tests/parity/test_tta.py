"""Every fast path equals a slow, plainly right one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from service.inference.engine import run_all
from service.inference.image.geometry import (
    FractionBox,
    Size,
    centre_box,
    on_stride,
    shorter_side,
)
from service.inference.image.views import cut, resize, size_of
from service.inference.predictor import Predictor
from service.inference.tta.aggregate import aggregate, softmax, temper
from service.inference.tta.steps import Options
from service.package.manifest import ModeCalibration
from service.package.package import ModelPackage
from tests.support.images import drawn
from tests.support.tiny import tiny_package


def changed(
    folder: Path, change: Callable[[ModeCalibration], ModeCalibration], **adaptive: object
) -> Predictor:
    """A tiny package with another first pass, or with `adaptive` fitted in another way."""
    package = ModelPackage.load(tiny_package(folder / "tiny", crop_px=96, resize_px=128))
    manifest = package.manifest
    assert manifest.adaptive is not None
    made = manifest.model_copy(
        update={
            "adaptive": manifest.adaptive.model_copy(update=adaptive),
            "calibration": tuple(
                change(entry) if entry.mode == "adaptive" else entry
                for entry in manifest.calibration
            ),
        }
    )
    (package.folder / "manifest.json").write_text(made.model_dump_json())
    return Predictor.from_package(package.folder, precision="fp32")


SIZES = [(96, 96), (97, 131), (240, 150), (64, 50)]


@pytest.mark.parametrize("size", SIZES)
def test_five_crop_equals_five_single_crops(predictor: Predictor, size: tuple[int, int]) -> None:
    image = drawn(*size, seed=1)
    answer = predictor.classify([image], "five_crop")[0].answer
    passes = predictor.model.planner.passes("five_crop", size_of(image))
    whole = resize(image, passes[0].resized)
    for item, view in zip(passes, answer.views, strict=True):
        box = item.box
        crop = whole[box.top : box.top + box.height, box.left : box.left + box.width]
        logits = predictor.session.run(crop[None], "logits")[0]
        np.testing.assert_allclose(view.raw, softmax(logits), atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_dense_equals_slicing_the_class_map_by_hand(
    predictor: Predictor, size: tuple[int, int]
) -> None:
    image = drawn(*size, seed=2)
    answer = predictor.classify([image], "dense")[0].answer
    (item,) = predictor.model.planner.passes("dense", size_of(image))
    class_map = predictor.session.run(resize(image, item.resized)[None], "class_map")[0]
    side = predictor.manifest.input.crop_px // 32
    high, wide = class_map.shape[1:]
    corners = [(0, 0), (0, wide - side), (high - side, 0), (high - side, wide - side)]
    by_hand = [class_map[:, r : r + side, c : c + side].mean((1, 2)) for r, c in corners]
    # The centre: upsample so that half a cell becomes whole cells, then slice.
    fine = class_map.repeat(2, 1).repeat(2, 2)
    top, left = high - side, wide - side
    by_hand.append(fine[:, top : top + 2 * side, left : left + 2 * side].mean((1, 2)))
    for view, logits in zip(answer.views, by_hand, strict=True):
        np.testing.assert_allclose(view.raw, softmax(logits), atol=1e-5)
    np.testing.assert_allclose(answer.raw, aggregate(np.stack(by_hand), "mean"), atol=1e-5)


def test_adaptive_equals_the_pass_that_its_gate_chose(predictor: Predictor) -> None:
    opened = 0
    for seed in range(12):
        image = drawn(120, 110, seed)
        got = predictor.classify([image], "adaptive")[0].answer
        if got.gate_open:
            opened += 1
            expected = predictor.classify([image], "dense")[0].answer
            np.testing.assert_allclose(got.probabilities, expected.probabilities, atol=1e-6)
            assert got.passes == 2
        else:
            assert got.passes == 1
    assert 0 < opened < 12  # else one side went untested


@pytest.mark.parametrize(("gate_cost", "left_out"), [(None, 0.2), (1.0, 0.1), (1.7, 0.16)])
def test_a_prediction_set_is_that_of_the_gate_asked_for(
    predictor: Predictor, gate_cost: float | None, left_out: float
) -> None:
    for seed in range(6):
        image = drawn(120, 110, seed)
        options = Options(tta="adaptive", gate_cost=gate_cost, coverage=0.8)
        (got,) = run_all([predictor.start(image, options)], predictor.session)
        assert got.prediction_set is not None
        kept = np.flatnonzero(1 - got.probabilities <= 0.8 - left_out)
        assert set(got.prediction_set) == set(kept) or not len(kept)
    assert predictor.model.quantiles(options)["0.8"] == pytest.approx(0.8 - left_out)


def test_adaptive_answers_from_both_passes_when_its_gate_opens(tmp_path: Path) -> None:
    fitted = {"second_share": 0.7, "second_temperature": 0.8}
    predictor = changed(tmp_path, lambda entry: entry.model_copy(update=fitted))
    opened = 0
    for seed in range(12):
        image = drawn(150, 140, seed)
        got = predictor.classify([image], "adaptive")[0].answer
        small = resize(image, on_stride(shorter_side(Size(150, 140), 96), 32))
        first = softmax(predictor.session.run(small[None], "logits"))[0]
        if got.gate_open:
            opened += 1
            dense = predictor.classify([image], "dense")[0].answer
            expected = temper(0.3 * temper(first, 1.25) + 0.7 * dense.probabilities, 0.8)
            assert len(got.views) == 1 + len(dense.views)
        else:
            expected = temper(first, 1.25)
        np.testing.assert_allclose(got.probabilities, expected, atol=1e-6)
    assert 0 < opened < 12  # else one side went untested


@pytest.mark.parametrize("size", [(150, 140), (400, 100)], ids=["five crops", "panorama"])
def test_a_crop_of_the_first_pass_is_not_run_again(tmp_path: Path, size: tuple[int, int]) -> None:
    """The second pass is five crops, asked for or because a panorama's `dense` falls back."""
    second = "dense" if size == (400, 100) else "five_crop"
    predictor = changed(
        tmp_path,
        lambda entry: entry.model_copy(update={"second_share": 0.7, "second_temperature": 0.8}),
        first_px=128,
        first_crop_px=96,
        second=second,
    )
    opened = 0
    for seed in range(12):
        image = drawn(*size, seed)
        got = predictor.classify([image], "adaptive")[0].answer
        single = predictor.classify([image], "none")[0].answer
        if got.gate_open:
            opened += 1
            five = predictor.classify([image], second)[0].answer
            expected = temper(0.3 * temper(single.raw, 1.25) + 0.7 * five.probabilities, 0.8)
            np.testing.assert_allclose(got.probabilities, expected, atol=1e-6)
            boxes = {view.box for view in got.views}
            assert boxes == {view.box for view in five.views}
            assert got.passes == len(got.views) == 5
            assert got.cost == 5
        else:
            assert got.passes == 1
    assert opened


@pytest.mark.parametrize("size", [(150, 140), (97, 231)])
def test_the_second_pass_may_be_the_served_crop(tmp_path: Path, size: tuple[int, int]) -> None:
    predictor = changed(
        tmp_path,
        lambda entry: entry.model_copy(update={"second_share": 0.7, "second_temperature": 0.8}),
        first_px=96,
        first_crop_px=64,
        second="none",
    )
    opened = 0
    for seed in range(12):
        image = drawn(*size, seed)
        got = predictor.classify([image], "adaptive")[0].answer
        small = shorter_side(Size(*size), 96)
        crop = cut(resize(image, small), centre_box(small, 64))
        first = softmax(predictor.session.run(crop[None], "logits"))[0]
        expected = temper(first, 1.25)
        if got.gate_open:
            opened += 1
            single = predictor.classify([image], "none")[0].answer
            expected = temper(0.3 * expected + 0.7 * single.probabilities, 0.8)
        assert got.passes == len(got.views) == 1 + bool(got.gate_open)
        np.testing.assert_allclose(got.probabilities, expected, atol=1e-6)
    assert 0 < opened < 12  # else one side went untested


def test_a_first_pass_that_leaves_nothing_to_run_is_the_answer(tmp_path: Path) -> None:
    """A panorama made small would cost more than the served crop, so that runs at once."""
    predictor = changed(tmp_path, lambda entry: entry, second="none")
    for seed in range(12):
        image = drawn(100, 400, seed)
        got = predictor.classify([image], "adaptive")[0].answer
        single = predictor.classify([image], "none")[0].answer
        assert (got.passes, got.gate_open) == (1, False)
        np.testing.assert_allclose(got.probabilities, temper(single.raw, 1.25), atol=1e-6)


def test_an_inset_first_pass_counts_the_border_half(tmp_path: Path) -> None:
    predictor = changed(tmp_path, lambda entry: entry, first_inset=True)
    image = drawn(128, 128, seed=3)
    views = predictor.start(image, Options(tta="adaptive"))
    (view,) = next(views)
    assert view.output == "class_map"
    assert view.pixels.shape == (96, 96, 3)
    weights = np.outer([0.5, 1, 0.5], [0.5, 1, 0.5])
    by_hand = (predictor.session.run(view.pixels[None], "class_map")[0] * weights).sum((1, 2)) / 4
    answer = predictor.classify([image], "adaptive")[0].answer
    np.testing.assert_allclose(answer.views[0].raw, softmax(by_hand), atol=1e-6)


def test_custom_boxes_of_the_whole_image_equal_resizing_it(predictor: Predictor) -> None:
    image = drawn(100, 180, seed=5)
    boxes = (FractionBox(0, 0, 1, 1), FractionBox(0, 0, 1, 1, flip=True))
    answer = predictor.classify([image], "custom", boxes=boxes)[0].answer
    side = predictor.manifest.input.crop_px
    from service.inference.image.geometry import Size

    whole = resize(image, Size(side, side))
    expected = predictor.session.run(np.stack([whole, whole[:, ::-1]]), "logits")
    for view, logits in zip(answer.views, expected, strict=True):
        np.testing.assert_allclose(view.raw, softmax(logits), atol=1e-6)


@pytest.mark.parametrize("mode", ["none", "five_crop", "ten_crop", "dense", "adaptive"])
def test_a_batch_equals_one_by_one(predictor: Predictor, mode: str) -> None:
    images = [drawn(90 + 13 * i, 200 - 11 * i, seed=i) for i in range(9)]
    together = predictor.classify(images, mode)  # type: ignore[arg-type]
    for image, got in zip(images, together, strict=True):
        alone = predictor.classify([image], mode)[0]  # type: ignore[arg-type]
        np.testing.assert_allclose(got.answer.probabilities, alone.answer.probabilities, atol=1e-6)


def test_options_reach_the_answer(predictor: Predictor) -> None:
    image = drawn(100, 100, seed=3)
    plain = predictor.classify([image], "five_crop")[0].answer
    logits = np.log(np.stack([view.raw for view in plain.views]))
    for how in ("mean", "max", "gmean"):
        got = predictor.classify([image], "five_crop", aggregate=how)[0].answer  # type: ignore
        np.testing.assert_allclose(got.raw, aggregate(logits, how), atol=1e-9)  # type: ignore
    job = predictor.start(image, Options(tta="none"))
    (view,) = next(job)
    assert view.output == "logits"
    assert view.pixels.shape == (64, 64, 3)
