"""Graphs of every kind: windows equal slicing by hand, views equal Pillow's, buffers equal runs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as reference

from service.inference.image.geometry import Box, FractionBox, Size, five_boxes
from service.inference.image.views import AnyImage, cut, resize, resized_crop
from service.inference.predictor import Predictor
from service.inference.runtime.session import Output, Session
from service.inference.tta.aggregate import aggregate, blend, softmax
from service.inference.tta.passes import make_views
from service.inference.tta.windows import as_input
from service.package.manifest import Aggregation, InputSize, Interpolation, ModeCalibration
from tests.support.images import COLOURS, drawn, encoded
from tests.support.kinds import KINDS, SHARPNESS, Drawn, kind_graph, kind_package

COLOUR = np.array([*COLOURS.values()]) / 255
WHOLE: list[tuple[Drawn, int]] = [
    ("class_map", 16), ("class_map", 8), ("average", 16), ("average", 8), ("maximum", 16),
]  # fmt: skip
SIZES = [(72, 72), (150, 140), (90, 200), (201, 99)]


def opened(folder: Path, drawn_kind: Drawn, stride_px: int, **more: Any) -> Predictor:
    package = kind_package(folder / "k", drawn_kind, stride_px, **more)
    return Predictor.from_package(package, provider="cpu", threads=1)


def cells_of(image: AnyImage, stride_px: int) -> NDArray[np.float64]:
    """[h, w, 3]: the mean of every cell of an image whose sides are multiples of the stride."""
    assert isinstance(image, np.ndarray)
    high, wide = image.shape[0] // stride_px, image.shape[1] // stride_px
    blocks = image.reshape(high, stride_px, wide, stride_px, 3)
    return blocks.mean((1, 3)) / 255


def by_hand(image: AnyImage, box: Box, drawn_kind: Drawn, stride_px: int) -> NDArray[np.float64]:
    """Logits of a window, from every cell and the share of it that the window covers."""
    cells = cells_of(image, stride_px)
    total, weights, most = np.zeros(3), 0.0, np.full(3, -np.inf)
    for y in range(cells.shape[0]):
        for x in range(cells.shape[1]):
            high = min((y + 1) * stride_px, box.bottom) - max(y * stride_px, box.top)
            wide = min((x + 1) * stride_px, box.right) - max(x * stride_px, box.left)
            if high <= 0 or wide <= 0:
                continue
            total += cells[y, x] * high * wide
            weights += high * wide
            if min(high, wide) >= stride_px / 2:
                most = np.maximum(most, cells[y, x])
    vector = total / weights
    if drawn_kind == "class_map":
        return SHARPNESS * (2 * COLOUR @ vector - (COLOUR**2).sum(1))
    logits = -SHARPNESS * ((vector - COLOUR) ** 2).sum(1)
    if drawn_kind == "maximum":
        logits -= SHARPNESS * ((most - COLOUR) ** 2).sum(1)
    return logits


@pytest.mark.parametrize(("drawn_kind", "stride_px"), WHOLE)
@pytest.mark.parametrize("size", SIZES)
def test_dense_windows_equal_slicing_by_hand(
    tmp_path: Path, drawn_kind: Drawn, stride_px: int, size: tuple[int, int]
) -> None:
    predictor = opened(tmp_path, drawn_kind, stride_px)
    image = drawn(*size, seed=3)
    answer = predictor.classify([image], "dense")[0].answer
    (one,) = predictor.model.planner.passes("dense", Size(*size))
    assert answer.passes == 1
    assert not one.size.height % stride_px
    assert not one.size.width % stride_px
    pixels = resize(image, one.resized)
    boxes = five_boxes(one.size, 48)
    expected = np.stack([by_hand(pixels, box, drawn_kind, stride_px) for box in boxes])
    for view, logits in zip(answer.views, expected, strict=True):
        np.testing.assert_allclose(view.raw, softmax(logits), atol=1e-4)
    np.testing.assert_allclose(answer.probabilities, softmax(expected).mean(0), atol=1e-4)


@pytest.mark.parametrize(("drawn_kind", "stride_px"), WHOLE)
def test_a_whole_view_equals_its_logits(tmp_path: Path, drawn_kind: Drawn, stride_px: int) -> None:
    session = opened(tmp_path, drawn_kind, stride_px).session
    views = np.stack([drawn(64, 96, seed=i) for i in range(3)])
    expected = np.stack([by_hand(v, Box(0, 0, 64, 96), drawn_kind, stride_px) for v in views])
    np.testing.assert_allclose(session.run(views, "logits"), expected, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_exact_crops_equal_crops_alone(tmp_path: Path, kind: str) -> None:
    predictor = opened(tmp_path, *KINDS[kind])
    image = drawn(150, 200, seed=2)
    answer = predictor.classify([image], "five_crop")[0].answer
    passes = predictor.model.planner.passes("five_crop", Size(150, 200))
    pixels = resize(image, passes[0].resized)
    logits = np.concatenate(
        [predictor.session.run(cut(pixels, one.box)[None], "logits") for one in passes]
    )
    np.testing.assert_allclose(answer.probabilities, softmax(logits).mean(0), atol=1e-6)


@pytest.mark.parametrize("drawn_kind", ["class_map", "average", "maximum", "any_crops"])
def test_crops_share_their_first_layers_in_every_kind(tmp_path: Path, drawn_kind: Drawn) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(kind_graph(drawn_kind, 16, deep=True).SerializeToString())
    sizes = InputSize(crop_px=128, resize_px=160)
    session = Session.open(path, sizes, provider="cpu", threads=1)
    for size in (Size(160, 160), Size(160, 203)):
        image = drawn(size.height, size.width, seed=4)
        boxes = five_boxes(size, 128)
        features = session.crops(image, boxes)
        assert features is not None
        got = session.run(np.stack(features), "logits_of_features")
        alone = np.concatenate([session.run(cut(image, box)[None], "logits") for box in boxes])
        np.testing.assert_allclose(got, alone, atol=1e-4 * np.abs(alone).max())


@pytest.mark.parametrize("kind", KINDS)
def test_bound_buffers_equal_plain_runs(tmp_path: Path, kind: str) -> None:
    drawn_kind, stride_px = KINDS[kind]
    path = tmp_path / "model.onnx"
    path.write_bytes(kind_graph(drawn_kind, stride_px).SerializeToString())
    plain = Session.open(path, provider="cpu", threads=1)
    bound = Session.open(path, provider="cpu", threads=1, io_binding=True)
    one_size = drawn_kind == "crops"
    random = np.random.default_rng(0)
    others: dict[Drawn, Output] = {
        "class_map": "class_map",
        "average": "window_logits",
        "maximum": "window_logits",
    }
    outputs: list[Output] = ["logits", *(o for k, o in others.items() if k == drawn_kind)]
    for height, width in ((48, 48), (64, 96), (50, 71), (48, 48)):
        if one_size and (height, width) != (48, 48):
            continue
        for views in (1, 3, 65):
            batch = random.integers(0, 256, (views, height, width, 3), np.uint8)
            for output in outputs:
                for boxes in (five_boxes(Size(height, width), 32), (Box(3, 5, 20, 31),)):
                    windows = as_input(boxes, Size(height, width))
                    given = windows if output == "window_logits" else None
                    got, expected = (s.run(batch, output, given) for s in (bound, plain))
                    np.testing.assert_allclose(got, expected, atol=2e-5)


def pillow_crops(image: NDArray[np.uint8], mode: InterpolationMode) -> list[NDArray[np.uint8]]:
    small = reference.resize(Image.fromarray(image), 72, mode)  # type: ignore[arg-type]
    return [np.asarray(one) for one in reference.five_crop(small, 48)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("interpolation", "mode"),
    [("bilinear", InterpolationMode.BILINEAR), ("bicubic", InterpolationMode.BICUBIC)],
)
@pytest.mark.parametrize("size", [(150, 140), (97, 203)])
def test_views_are_resized_by_the_filter_of_the_manifest(
    tmp_path: Path, interpolation: Interpolation, mode: InterpolationMode, size: tuple[int, int]
) -> None:
    predictor = opened(tmp_path, "class_map", 16, interpolation=interpolation)
    planner, image = predictor.model.planner, drawn(*size, seed=6)
    expected = pillow_crops(image, mode)
    for given in (image, predictor.open_image(encoded(image))):
        views = make_views(given, planner.passes("five_crop", Size(*size)))
        for view, crop in zip(views, expected, strict=True):
            np.testing.assert_array_equal(view.pixels, crop)
        (one,) = planner.passes("dense", Size(*size))
        (dense,) = make_views(given, (one,))
        whole = Image.fromarray(image).resize(
            (one.size.width, one.size.height), Image.Resampling[interpolation.upper()]
        )
        np.testing.assert_array_equal(dense.pixels, np.asarray(whole))
        box = FractionBox(0.1, 0.2, 0.8, 0.9)
        (custom,) = make_views(given, planner.passes("custom", Size(*size), (box,)))
        np.testing.assert_array_equal(custom.pixels, resized_crop(given, box, 48, interpolation))


def test_the_two_filters_differ() -> None:
    image = drawn(150, 140, seed=6)
    assert (resize(image, Size(72, 67)) != resize(image, Size(72, 67), "bicubic")).any()


HOW: list[Aggregation] = ["mean", "max", "gmean", "logit_mean", "weighted"]


@pytest.mark.parametrize("share", [None, 0.3])
@pytest.mark.parametrize("size", [(150, 140), (60, 400)])  # the second one takes five crops
def test_centre_dense_blends_the_crop_and_the_dense_pass(
    tmp_path: Path, share: float | None, size: tuple[int, int]
) -> None:
    own: dict[str, Any] = {} if share is None else {"second_share": share}
    weights = (0.5, 0.05, 0.1, 0.1, 0.05, 0.2)
    entry = ModeCalibration(
        precision="fp32", mode="centre_dense", temperature=1.5, view_weights=weights, **own
    )
    predictor = opened(tmp_path, "average", 16, calibration=(entry,))
    image = drawn(*size, seed=8)

    def raw(mode: Any, how: Aggregation) -> NDArray[np.float64]:
        return predictor.classify([image], mode, aggregate=how)[0].answer.raw

    answer = predictor.classify([image], "centre_dense")[0].answer
    assert answer.calibrated
    dense = predictor.classify([image], "dense")[0].answer
    assert answer.passes == (2 if dense.passes == 1 else 5)
    assert answer.cost == pytest.approx(dense.cost + (1 if dense.passes == 1 else 0))
    counts = share or 0.5
    centre, windows = raw("none", "mean"), raw("dense", "mean")
    np.testing.assert_allclose(answer.raw, blend(centre, windows, counts), atol=1e-6)
    logs = blend(np.log(centre), np.log(raw("dense", "gmean")), counts)
    np.testing.assert_allclose(raw("centre_dense", "gmean"), softmax(logs), atol=1e-6)
    logs = blend(np.log(centre), np.log(raw("dense", "logit_mean")), counts)
    np.testing.assert_allclose(raw("centre_dense", "logit_mean"), softmax(logs), atol=1e-6)
    each = [v.raw for v in dense.views]
    crop = predictor.classify([image], "none")[0].answer.views[0].raw
    most = np.max([crop, *each], axis=0)
    np.testing.assert_allclose(raw("centre_dense", "max"), most / most.sum(), atol=1e-6)
    weighted = np.average([crop, *each], axis=0, weights=weights)
    np.testing.assert_allclose(raw("centre_dense", "weighted"), weighted, atol=1e-6)


def test_shares_of_equal_size_are_the_plain_mean() -> None:
    logits = np.random.default_rng(0).normal(size=(4, 6, 3))
    for how in ("mean", "gmean", "logit_mean"):
        shares = (1 / 6,) * 6
        got = aggregate(logits, how, shares=shares)
        np.testing.assert_allclose(got, aggregate(logits, how), atol=1e-12)
