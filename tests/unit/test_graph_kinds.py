"""Graphs of every kind are held to what their manifest says of them, before they serve."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from service.errors import ModelPackageError
from service.inference.predictor import Predictor
from service.package.manifest import Graph
from service.package.package import ModelPackage
from service.package.verify import verify
from tests.support.kinds import KINDS, Drawn, kind_graph, kind_package
from tests.support.packages import edit_graph, edit_manifest, write_graph


def refused(folder: Path, message: str) -> None:
    for attempt in (lambda: verify(folder), lambda: Predictor.from_package(folder, provider="cpu")):
        with pytest.raises(ModelPackageError, match=message) as caught:
            attempt()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_verified(tmp_path: Path, kind: str) -> None:
    assert verify(kind_package(tmp_path / "k", *KINDS[kind])).manifest.schema_version == 2


def set_graph(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda content: content["graph"].update(values)


@pytest.mark.parametrize("claimed_px", [8, 32, 24])
def test_a_class_map_with_another_stride_is_refused(tmp_path: Path, claimed_px: int) -> None:
    folder = kind_package(tmp_path / "k", "class_map", 16, resize_px=96)
    edit_manifest(folder, set_graph(stride_px=claimed_px, smallest_px=claimed_px))
    refused(folder, f"graph.stride_px (is|cannot be) {claimed_px}")


@pytest.mark.parametrize("drawn", ["average", "maximum"])
@pytest.mark.parametrize(
    ("claimed_px", "message"),
    [
        (8, "the same window_logits for the first cell and"),
        (32, "most of a cell of graph.stride_px"),
    ],
)
def test_windows_with_another_stride_are_refused(
    tmp_path: Path, drawn: Drawn, claimed_px: int, message: str
) -> None:
    folder = kind_package(tmp_path / "k", drawn, 16)
    edit_manifest(folder, set_graph(stride_px=claimed_px))
    refused(folder, message)


def test_a_class_map_that_is_not_that_of_the_logits_is_refused(tmp_path: Path) -> None:
    """Of the right shape, and finite: only a run shows that its mean is something else."""
    folder = kind_package(tmp_path / "k", "class_map", 16)

    def other_head(model: onnx.ModelProto) -> None:
        conv = next(node for node in model.graph.node if node.op_type == "Conv")
        weight = next(t for t in model.graph.initializer if t.name == conv.input[1])
        flipped = numpy_helper.from_array(numpy_helper.to_array(weight)[::-1].copy(), "flipped")
        model.graph.initializer.append(flipped)
        conv.output[0] = "own"
        mean = next(node for node in model.graph.node if node.op_type == "ReduceMean")
        mean.input[0] = "own"
        inputs = [conv.input[0], "flipped", conv.input[2]]
        model.graph.node.append(helper.make_node("Conv", inputs, ["class_map"]))

    edit_graph(folder, other_head)
    refused(folder, "the mean of class_map must give the logits")


def whole_logits_for_windows(model: onnx.ModelProto) -> None:
    """Answer every window with the logits of the whole image."""
    nodes = model.graph.node
    (at,) = (i for i, node in enumerate(nodes) if node.output[0] == "window_logits")
    del nodes[at]
    constants = [
        helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
        helper.make_tensor("one", TensorProto.INT64, [1], [1]),
    ]
    model.graph.initializer.extend(constants)
    nodes.extend(
        [
            helper.make_node("Shape", ["windows"], ["count"], start=0, end=1),
            helper.make_node("Concat", ["one", "count", "one"], ["shape"], axis=0),
            helper.make_node("Unsqueeze", ["logits", "axis"], ["single"]),
            helper.make_node("Expand", ["single", "shape"], ["window_logits"]),
        ]
    )


def test_a_graph_that_takes_no_notice_of_windows_is_refused(tmp_path: Path) -> None:
    folder = kind_package(tmp_path / "k", "average", 16)
    edit_graph(folder, whole_logits_for_windows)
    refused(folder, "takes no notice of windows")


def test_a_smallest_side_that_the_graph_does_not_take_is_refused(tmp_path: Path) -> None:
    folder = kind_package(tmp_path / "k", "any_crops", 16)
    edit_manifest(folder, set_graph(smallest_px=4))

    def by_convolution(model: onnx.ModelProto) -> None:
        """Average by a convolution, which needs a whole window."""
        (at,) = (i for i, n in enumerate(model.graph.node) if n.op_type == "AveragePool")
        quarter = numpy_helper.from_array(np.full((3, 1, 16, 16), 1 / 256, np.float32), "share")
        model.graph.initializer.append(quarter)
        inputs = [model.graph.node[at].input[0], "share"]
        made = helper.make_node("Conv", inputs, ["features"], strides=[16, 16], group=3)
        model.graph.node[at].CopyFrom(made)

    edit_graph(folder, by_convolution)
    refused(folder, r"does not run: model.onnx failed on \(1, 4, 4, 3\)")


SIGNATURES: dict[str, tuple[Drawn, dict[str, Any], str]] = {
    "no class map": (
        "any_crops",
        {"kind": "class_map"},
        r"give logits and class_map \(graph kind class_map\), but takes images: .*gives logits",
    ),
    "no windows": (
        "class_map",
        {"kind": "windows"},
        r"take images: uint8\[N, H, W, 3\] and windows: float32\[V, 4\] and give logits and window",
    ),
    "windows that nobody feeds": ("average", {"kind": "crops"}, "but takes images: .*, windows"),
    "a fixed graph as dynamic": (
        "crops",
        {"sizes": "dynamic"},
        r"any number, height and width.*but takes images: uint8\[N, 48, 48, 3\]",
    ),
}


@pytest.mark.parametrize("what", SIGNATURES)
def test_a_graph_of_another_kind_than_its_manifest_is_refused(tmp_path: Path, what: str) -> None:
    drawn, claimed, message = SIGNATURES[what]
    folder = kind_package(tmp_path / "k", drawn, 16)
    edit_manifest(folder, set_graph(**claimed))
    with pytest.raises(ModelPackageError, match=message):
        ModelPackage.load(folder)


def test_a_fixed_graph_of_another_size_is_refused(tmp_path: Path) -> None:
    folder = kind_package(tmp_path / "k", "crops", 16)
    write_graph(folder, kind_graph("crops", 16, 64).SerializeToString())
    with pytest.raises(ModelPackageError, match=r"uint8\[N, 48, 48, 3\], but takes .*64, 64"):
        ModelPackage.load(folder)


def test_windows_of_three_edges_are_refused(tmp_path: Path) -> None:
    folder = kind_package(tmp_path / "k", "average", 16)

    def three(model: onnx.ModelProto) -> None:
        (windows,) = (value for value in model.graph.input if value.name == "windows")
        windows.type.tensor_type.shape.dim[1].dim_value = 3

    edit_graph(folder, three)
    with pytest.raises(ModelPackageError, match="left, top, right, bottom"):
        ModelPackage.load(folder)


def test_a_graph_says_its_own_kind_where_there_is_no_manifest() -> None:
    from service.package.graph import check_graph

    for drawn, stride_px in KINDS.values():
        data = kind_graph(drawn, stride_px).SerializeToString()
        assert check_graph(data, Path("model.onnx")) == 3


def test_version_1_is_one_kind_of_graph() -> None:
    assert Graph() == Graph(kind="class_map", sizes="dynamic", stride_px=32, smallest_px=32)
