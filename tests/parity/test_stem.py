"""Crops that share their first layers equal crops that were each run alone."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from service.inference.image.geometry import Box, Size, five_boxes
from service.inference.image.views import Pixels, cut
from service.inference.predictor import Predictor
from service.inference.runtime.cut_point import best_cut_point, split
from service.inference.runtime.session import Session
from service.inference.runtime.shared_crops import Features, ReceptiveField, Stem
from service.inference.tta.steps import Options
from service.package.manifest import InputSize, Mode
from tests.support.images import drawn

SIZES = InputSize(crop_px=128, resize_px=160)


@pytest.fixture(scope="module", params=["fp32", "int8"])
def session(request: pytest.FixtureRequest, exported: Path) -> Session:
    """A real xresnet, for sizes where it pays to share."""
    name = "model.onnx" if request.param == "fp32" else "model.int8.onnx"
    return Session.open(exported / name, SIZES, provider="cpu", threads=1)


def apart(session: Session, image: Pixels, boxes: tuple[Box, ...]) -> np.ndarray:
    """The slow loop: every crop on its own through the whole graph."""
    return np.concatenate([session.run(cut(image, box)[None], "logits") for box in boxes])


# Squares, all on one grid; 256 wide, with corners that barely overlap; and widths where the left
# crops, the right ones and the centre lie on three grids of cells.
@pytest.mark.parametrize("size", [(160, 160), (160, 256), (224, 160), (160, 203), (193, 160)])
def test_logits_of_shared_crops_equal_those_of_crops_alone(
    session: Session, size: tuple[int, int]
) -> None:
    image = drawn(*size, seed=5)
    boxes = five_boxes(Size(*size), 128)
    features = session.crops(image, boxes)
    assert features is not None
    got = session.run(np.stack(features), "logits_of_features")
    np.testing.assert_allclose(got, apart(session, image, boxes), atol=1e-5)


def test_a_crop_without_its_strips_would_be_wrong(session: Session) -> None:
    """The test above can fail: what lies beyond a crop's edge matters."""
    image = drawn(160, 160, seed=5)
    boxes = five_boxes(Size(160, 160), 128)
    features = session.crops(image, boxes)
    whole = session.crops(image, (*boxes, Box(0, 0, 160, 160)))
    assert features is not None
    assert whole is not None
    cells = features[0].shape[1]
    assert np.abs(whole[5][:, :cells, :cells] - features[0].astype(np.float32)).max() > 0.01


@pytest.mark.parametrize("mode", ["five_crop", "ten_crop"])
@pytest.mark.parametrize("size", [(200, 200), (150, 317), (512, 300)])
def test_answers_do_not_depend_on_sharing(
    exported: Path, mode: Mode, size: tuple[int, int]
) -> None:
    plain = Predictor.from_package(exported, precision="fp32", provider="cpu", threads=1)
    package = replace(plain.package, manifest=plain.manifest.model_copy(update={"input": SIZES}))
    path = exported / "model.onnx"
    shares, alone = (
        replace(plain, package=package, session=Session.open(path, sizes, provider="cpu"))
        for sizes in (SIZES, None)
    )
    image = drawn(*size, seed=6)
    (view, *_) = next(shares.start(image, Options(tta=mode)))
    assert view.output == "logits_of_features"
    (got,), (expected,) = (one.classify([image], mode) for one in (shares, alone))
    for a, b in zip(got.answer.views, expected.answer.views, strict=True):
        assert a.box == b.box
        np.testing.assert_allclose(a.probabilities, b.probabilities, atol=1e-5)
    np.testing.assert_allclose(got.answer.probabilities, expected.answer.probabilities, atol=1e-5)


def test_a_graph_may_be_gone_when_its_parts_are_first_needed(
    exported: Path, tmp_path: Path
) -> None:
    """The verified bytes run, also when the file has changed since."""
    path = tmp_path / "model.onnx"
    shutil.copy(exported / "model.onnx", path)
    session = Session.open(path, SIZES, provider="cpu", threads=1)
    path.unlink()
    assert session.crops(drawn(160, 160, seed=5), five_boxes(Size(160, 160), 128)) is not None


def test_a_panorama_whose_crops_have_nothing_in_common_shares_nothing(session: Session) -> None:
    boxes = five_boxes(Size(128, 640), 128)
    assert session.crops(drawn(128, 640, seed=7), boxes) is None


def test_a_graph_whose_first_layers_cost_nothing_is_not_cut(package: Path) -> None:
    assert split((package / "model.onnx").read_bytes(), SIZES) is None


def test_a_graph_is_cut_behind_its_stem(exported: Path) -> None:
    parts = split((exported / "model.onnx").read_bytes(), SIZES)
    assert parts is not None
    assert parts.receptive_field == ReceptiveField(4, margin_before=2, margin_after=1)
    parts = split((exported / "model.int8.onnx").read_bytes(), SIZES)
    assert parts is not None
    assert "QuantizeLinear" in parts.tensor  # a byte for each cell and channel, not four


@st.composite
def layers(draw: st.DrawFn) -> list[tuple[str, int, int, int, int]]:
    """Convolutions and poolings of any kernel, stride and padding that keep cells on a grid."""
    drawn_layers: list[tuple[str, int, int, int, int]] = []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["Conv", "MaxPool", "AveragePool"]))
        stride = draw(st.sampled_from([1, 1, 2]))
        kernel = draw(st.integers(1, 5))
        pads = kernel - draw(st.integers(1, stride))
        before = draw(st.integers(0, max(pads, 0)))
        assume(pads >= 0)
        assume(kind == "Conv" or max(before, pads - before) < kernel)
        drawn_layers.append((kind, kernel, stride, before, pads - before))
    return drawn_layers


@settings(max_examples=60)
@given(layers(), st.integers(0, 3), st.integers(0, 40), st.integers(0, 40))
def test_any_stem_shares_exactly(
    chain: list[tuple[str, int, int, int, int]], seed: int, more_high: int, more_wide: int
) -> None:
    stem = stem_of(chain, seed)
    cell = stem.receptive_field.stride_px
    assume(stem.receptive_field.strip_px <= 32)
    image = np.random.default_rng(seed).integers(
        0, 256, (48 + more_high, 48 + more_wide, 3), np.uint8
    )
    boxes = five_boxes(Size(*image.shape[:2]), 48 // cell * cell)
    features = stem.crops(image, boxes)
    assume(features is not None)
    assert features is not None
    for got, box in zip(features, boxes, strict=True):
        np.testing.assert_allclose(got, stem.run(cut(image, box)[None])[0], atol=1e-4)


def stem_of(chain: list[tuple[str, int, int, int, int]], seed: int) -> Stem:
    """A stem of such layers, with random weights and a bias that padding makes felt."""
    random = np.random.default_rng(seed)
    nodes = [
        helper.make_node("Transpose", ["images"], ["bytes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["bytes"], ["x0"], to=TensorProto.FLOAT),
    ]
    weights: list[onnx.TensorProto] = []
    field: ReceptiveField | None = ReceptiveField()
    for number, (kind, kernel, stride, before, after) in enumerate(chain):
        assert field is not None
        field = field.through(kernel, stride, before, after)
        inputs = [f"x{number}"]
        if kind == "Conv":
            weight = random.normal(size=(3, 3, kernel, kernel)).astype(np.float32) / kernel**2
            bias = random.normal(size=3).astype(np.float32)
            weights += [
                numpy_helper.from_array(weight, f"w{number}"),
                numpy_helper.from_array(bias, f"b{number}"),
            ]
            inputs += [f"w{number}", f"b{number}"]
        nodes.append(
            helper.make_node(
                kind, inputs, [f"x{number + 1}"], kernel_shape=[kernel] * 2, strides=[stride] * 2,
                pads=[before, before, after, after],
            )
        )  # fmt: skip
    assert field is not None
    graph = helper.make_graph(
        nodes,
        "stem",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", "H", "W", 3])],
        [helper.make_tensor_value_info(f"x{len(chain)}", TensorProto.FLOAT, ["N", 3, "h", "w"])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    opened = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def run(views: Pixels) -> Features:
        return np.asarray(opened.run(None, {"images": np.ascontiguousarray(views)})[0])

    return Stem(run, field)


def test_attention_is_never_cut_through(exported: Path) -> None:
    """Attention sees all cells at once, so neither it nor any later layer can be shared."""
    model = onnx.load(exported / "model.onnx")
    model = onnx.shape_inference.infer_shapes(model)
    (pool,) = (node for node in model.graph.node if node.op_type == "MaxPool")
    for node in model.graph.node:
        if node.op_type == "Conv" and len(node.attribute) and pool.output[0] in node.input:
            node.op_type = "Attention"
    point = best_cut_point(model.graph, SIZES)
    assert point is not None
    assert point.receptive_field.stride_px <= 4
