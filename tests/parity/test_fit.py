"""`input.fit: squash` equals a photo that Pillow squashed before; square photos notice nothing."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import functional as reference

from benchmarks.scoring.peers import Cut
from service.api.heatmap import with_class_map
from service.errors import ImageTooSmall
from service.inference.common_shapes import common_views
from service.inference.decode import decode_image
from service.inference.engine import run_all
from service.inference.image.geometry import FractionBox, Size, fitted
from service.inference.image.views import size_of
from service.inference.predictor import Predictor
from service.inference.runtime.io_binding import IoBindingRunner
from service.inference.runtime.session import Session
from service.inference.tta.passes import make_views
from service.inference.tta.planner import Pass, Planner
from service.inference.tta.steps import Options
from service.package.manifest import Adaptive, Fit, Graph, InputSize, Mode
from tests.support.images import drawn
from tests.support.packages import edit_manifest
from tests.support.tiny import tiny_package

SIDE = 96
SHAPES = [(96, 96), (150, 200), (200, 150), (97, 331), (700, 40), (5, 300), (1, 1)]
PLAIN: list[Mode] = ["none", "five_crop", "ten_crop", "dense", "centre_dense"]
EVERY: list[Mode] = [*PLAIN, "adaptive"]
BOX = FractionBox(0.1, 0.2, 0.7, 0.9)
GRAPHS = [Graph(), Graph(kind="windows", stride_px=16, smallest_px=16)]
FIRSTS = [
    None,
    Adaptive(first_px=SIDE, first_crop_px=64),
    Adaptive(first_px=64, second="five_crop"),
]
sides = st.integers(1, 2000)


def predictor_of(folder: Path, fit: Fit, **more: Any) -> Predictor:
    """A package whose `adaptive` first runs the served crop."""
    tiny_package(folder, resize_px=SIDE)

    def change(content: dict[str, Any]) -> None:
        content["input"].update(fit=fit, **more)
        content["adaptive"] = {"first_px": SIDE, "first_crop_px": 64}

    edit_manifest(folder, change)
    return Predictor.from_package(folder, precision="fp32", provider="cpu")


@pytest.fixture(name="squashing")
def _squashing(tmp_path: Path) -> Predictor:
    return predictor_of(tmp_path / "squashing", "squash")


@pytest.fixture(name="keeping")
def _keeping(tmp_path: Path) -> Predictor:
    return predictor_of(tmp_path / "keeping", "shorter_side")


def squashed(image: NDArray[np.uint8], side_px: int = SIDE) -> Image.Image:
    return Image.fromarray(image).resize((side_px, side_px), Image.Resampling.BILINEAR)


def planners(
    graph: Graph, first: Adaptive | None, resize_px: int = SIDE
) -> tuple[Planner, Planner]:
    """One that squashes and one that keeps the shape."""
    sizes = InputSize(crop_px=64, resize_px=resize_px, decode="scaled")
    other = sizes.model_copy(update={"fit": "squash"})
    return Planner(other, first, graph), Planner(sizes, first, graph)


def every_pass(planner: Planner, size: Size) -> list[Pass]:
    plans = [planner.plan(mode, size) for mode in EVERY]
    return [one for plan in plans for one in (*plan.first, *plan.second)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", ["none", "five_crop", "ten_crop", "dense"])
def test_views_are_those_of_torchvision(shape: tuple[int, int], mode: Mode) -> None:
    image = drawn(*shape, seed=sum(shape))
    whole = reference.resize(Image.fromarray(image), [SIDE, SIDE])  # type: ignore[arg-type]
    made = {
        "none": lambda: [reference.center_crop(whole, [64, 64])],
        "five_crop": lambda: reference.five_crop(whole, [64, 64]),  # type: ignore[arg-type]
        "ten_crop": lambda: reference.ten_crop(whole, [64, 64]),  # type: ignore[arg-type]
        "dense": lambda: [whole],
    }[mode]()
    planner, _ = planners(Graph(), None)
    views = make_views(image, planner.passes(mode, size_of(image)))
    assert len(views) == len(made)
    for view, expected in zip(views, made, strict=True):
        np.testing.assert_array_equal(view.pixels, np.asarray(expected))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", EVERY)
def test_answers_are_those_of_a_photo_that_was_squashed_before(
    squashing: Predictor, keeping: Predictor, shape: tuple[int, int], mode: Mode
) -> None:
    data = BytesIO()
    Image.fromarray(drawn(*shape, seed=sum(shape))).save(data, "PNG")
    before = np.asarray(squashed(drawn(*shape, seed=sum(shape))))
    for photo in (data.getvalue(), drawn(*shape, seed=sum(shape))):
        (got,), (expected,) = squashing.classify([photo], mode), keeping.classify([before], mode)
        np.testing.assert_array_equal(got.answer.probabilities, expected.answer.probabilities)
        assert [view.box for view in got.answer.views] == [
            view.box for view in expected.answer.views
        ]


@pytest.mark.parametrize("mode", [*EVERY, "custom"])
def test_square_photos_have_the_same_answers(
    squashing: Predictor, keeping: Predictor, mode: Mode
) -> None:
    boxes = (BOX,) if mode == "custom" else ()
    for side_px in (3, 63, 96, 97, 500):
        image = drawn(side_px, side_px, seed=side_px)
        answers = [
            run_all([one.start(image, Options(tta=mode, boxes=boxes))], one.session)[0]
            for one in (squashing, keeping)
        ]
        np.testing.assert_array_equal(answers[0].probabilities, answers[1].probabilities)


def test_custom_boxes_ignore_the_fit(squashing: Predictor, keeping: Predictor) -> None:
    image, options = drawn(150, 260), Options(tta="custom", boxes=(BOX,))
    got, expected = (
        run_all([one.start(image, options)], one.session)[0] for one in (squashing, keeping)
    )
    np.testing.assert_array_equal(got.probabilities, expected.probabilities)


@given(sides, st.sampled_from(GRAPHS), st.sampled_from(FIRSTS), st.integers(64, 200))
def test_plans_of_square_photos_are_equal(
    side_px: int, graph: Graph, first: Adaptive | None, resize_px: int
) -> None:
    one, other = planners(graph, first, resize_px)
    size = Size(side_px, side_px)
    for mode in EVERY:
        assert one.plan(mode, size) == other.plan(mode, size)
    assert one.least_size(size) == other.least_size(size)


@given(sides, sides, st.sampled_from(GRAPHS), st.sampled_from(FIRSTS), st.integers(64, 200))
def test_photos_of_every_shape_run_the_views_of_a_square(
    height: int, width: int, graph: Graph, first: Adaptive | None, resize_px: int
) -> None:
    planner, _ = planners(graph, first, resize_px)
    size = Size(height, width)
    assert every_pass(planner, size) == every_pass(planner, Size(77, 77))
    for one in every_pass(planner, size):
        assert one.resized.height == one.resized.width
        for box in one.shown:
            assert 0 <= box.left < box.right <= 1
            assert 0 <= box.top < box.bottom <= 1


@settings(max_examples=40)
@given(st.integers(64, 600), st.integers(64, 600), st.sampled_from(PLAIN))
def test_boxes_lie_where_the_view_was_cut(height: int, width: int, mode: Mode) -> None:
    """In a photo that is brighter to the right and to the bottom, the mean tells the middle."""
    across, down = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    image = np.stack([255 * across, 255 * down, 0 * down], axis=-1).round().astype(np.uint8)
    planner, _ = planners(Graph(), None)
    for one in planner.passes(mode, size_of(image)):
        (view,) = make_views(image, (replace(one, windows=()),))
        boxes = zip(one.windows, one.shown, strict=True) if one.windows else [(None, *one.shown)]
        for window, box in boxes:
            pixels = np.asarray(view.pixels, float)
            if window is not None:
                pixels = pixels[window.top : window.bottom, window.left : window.right]
            middle = pixels.mean((0, 1))[:2] / 255
            assert abs(middle[0] - (box.left + box.right) / 2) < 0.01
            assert abs(middle[1] - (box.top + box.bottom) / 2) < 0.01


@settings(max_examples=40, deadline=None)
@given(st.integers(20, 1500), st.integers(20, 1500), st.integers(1, 4))
def test_a_scaled_photo_keeps_enough_pixels_on_both_sides(
    height: int, width: int, factor: int
) -> None:
    data = BytesIO()
    Image.new("RGB", (width, height), (90, 10, 200)).save(data, "JPEG")
    sizes = InputSize(crop_px=32, resize_px=32, fit="squash", decode="scaled", decode_factor=factor)
    image = decode_image(data.getvalue(), least_size=Planner(sizes).decoding())
    if image.scale > 1:
        left, top, right, bottom = image.whole()
        assert min(right - left, bottom - top) >= factor * 32
    if image.scale < 8:
        assert min(height, width) < 2 * image.scale * factor * 32


@given(sides, sides, st.integers(1, 500))
def test_fitted_says_what_each_fit_means(height: int, width: int, side_px: int) -> None:
    size = Size(height, width)
    kept, square = fitted(size, side_px, "shorter_side"), fitted(size, side_px, "squash")
    assert square == Size(side_px, side_px)
    assert min(kept.height, kept.width) == side_px
    assert (kept.height >= kept.width) == (height >= width) or kept == square


def test_a_photo_too_narrow_to_keep_its_shape_can_be_squashed(
    squashing: Predictor, keeping: Predictor
) -> None:
    image = drawn(1, 30_000)
    with pytest.raises(ImageTooSmall):
        keeping.classify([image], "none")
    squashing.classify([image], "dense")


@pytest.mark.parametrize("shape", SHAPES)
def test_a_heat_map_has_the_cells_of_a_square(squashing: Predictor, shape: tuple[int, int]) -> None:
    image = drawn(*shape)
    steps = with_class_map(
        squashing.start(image, Options(tta="none")), image, squashing.model.planner
    )
    (answer,) = run_all([steps], squashing.session)
    assert answer.class_map is not None
    assert answer.class_map.shape == (3, SIDE // 32, SIDE // 32)


def test_only_square_views_are_common(
    squashing: Predictor, keeping: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU these shapes are run before the service is ready. No photo needs another one."""
    views = common_views(squashing.model)
    assert {view.pixels.shape for view in views} == {(64, 64, 3), (SIDE, SIDE, 3)}
    assert len(views) < len(common_views(keeping.model))
    path = squashing.package.path("fp32")
    session = Session.open(path, provider="cpu", threads=1, io_binding=True)
    bound = replace(squashing, session=session)
    bound.warm_up(4, 1)
    for method in ("_run_plainly", "_bind"):
        monkeypatch.setattr(IoBindingRunner, method, lambda *_: pytest.fail("not warm"))
    photos = [drawn(*shape) for shape in SHAPES]
    for mode in EVERY:
        for got, expected in zip(
            bound.classify(photos, mode), squashing.classify(photos, mode), strict=True
        ):
            np.testing.assert_allclose(
                got.answer.probabilities, expected.answer.probabilities, atol=1e-5
            )


@pytest.mark.parametrize("fit", ["squash", "shorter_side"])
@pytest.mark.parametrize("mode", ["none", "five_crop"])
def test_programs_that_are_compared_cut_the_same_crops(fit: Fit, mode: Mode) -> None:
    planner = Planner(InputSize(crop_px=64, resize_px=SIDE, fit=fit))
    for shape in ((150, 200), (331, 97), (96, 96)):
        image = drawn(*shape)
        views = make_views(image, planner.passes(mode, size_of(image)))
        cut = Cut(SIDE, 64, mode == "five_crop", fit).crops(Image.fromarray(image))
        np.testing.assert_array_equal(cut, np.stack([np.asarray(view.pixels) for view in views]))
