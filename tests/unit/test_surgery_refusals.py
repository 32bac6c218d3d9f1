"""What cannot be imported is refused, and the message says what was found."""

from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from service.errors import ImportRefused
from tests.support.classifiers import (
    SIDE_PX,
    Step,
    average_linear,
    classifier,
    exported,
)
from training.surgery import Wanted, convert
from training.surgery.reading import loading

HALF = (0.5, 0.5, 0.5)


def wanted(crop_px: int = SIDE_PX, output: str | None = None) -> Wanted:
    return Wanted(HALF, HALF, crop_px=crop_px, output=output)


def value(name: str, kind: int, *axes: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, axes)


def graph_of(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    *domains: str,
) -> onnx.ModelProto:
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(one, 1) for one in domains)]
    return helper.make_model(
        helper.make_graph(nodes, "graph", inputs, outputs), opset_imports=opsets
    )


PHOTO = value("x", TensorProto.FLOAT, 1, 3, 32, 32)
ANSWER = value("y", TensorProto.FLOAT, 1, 3)
POOL = helper.make_node("GlobalAveragePool", ["x"], ["p"])
FLAT = helper.make_node("Flatten", ["p"], ["y"])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (graph_of([POOL, FLAT], [PHOTO, value("z", 1, 1)], [ANSWER]), "one input.* z: float32"),
        (graph_of([POOL, FLAT], [PHOTO], [ANSWER, value("p", 1, 1, 3, 1, 1)]), "2 outputs.*p: f"),
        (graph_of([POOL, FLAT], [value("x", 1, 1, 1, 32, 32)], [ANSWER]), "--layout"),
        (graph_of([POOL, FLAT], [value("x", 7, 1, 3, 32, 32)], [ANSWER]), "int64"),
        (graph_of([POOL, FLAT], [value("x", 1, 1, 3, 32, 48)], [ANSWER]), "32×48"),
        (graph_of([POOL, FLAT], [value("x", 1, 3, 32, 32)], [ANSWER]), "four axes"),
        (
            graph_of(
                [helper.make_node("Own", ["x"], ["y"], domain="acme")], [PHOTO], [ANSWER], "acme"
            ),
            r"acme\.Own \(1\)",
        ),
        (
            graph_of(
                [helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]), POOL, FLAT],
                [PHOTO], [ANSWER],
            ),
            "quantized already",
        ),
        (graph_of([helper.make_node("Relu", ["x"], ["y"])], [PHOTO], [ANSWER]), "one value for"),
    ],
)  # fmt: skip
def test_what_cannot_be_imported_is_refused_with_what_was_found(
    model: onnx.ModelProto, message: str
) -> None:
    with pytest.raises(ImportRefused, match=message):
        convert(model, wanted(crop_px=32))


def test_an_output_among_several_can_be_named() -> None:
    model = graph_of([POOL, FLAT], [PHOTO], [ANSWER, value("p", 1, 1, 3, 1, 1)])
    result = convert(model, wanted(crop_px=32, output="y"))
    assert (result.kind, result.classes) == ("class_map", 3)


def test_control_flow_is_refused() -> None:
    then = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["t"])], "then", [], [value("t", 1, 1, 3, 32, 32)]
    )
    other = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["e"])], "else", [], [value("e", 1, 1, 3, 32, 32)]
    )
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
        helper.make_node("Cast", ["m"], ["c"], to=TensorProto.BOOL),
        helper.make_node("If", ["c"], ["i"], then_branch=then, else_branch=other),
        helper.make_node("GlobalAveragePool", ["i"], ["p"]),
        FLAT,
    ]
    with pytest.raises(ImportRefused, match=r"control flow.*1 × If"):
        convert(graph_of(nodes, [PHOTO], [ANSWER]), wanted(crop_px=32))


def test_weights_outside_of_the_folder_are_refused(tmp_path: Path) -> None:
    model = onnx.load(exported(classifier(*average_linear()), tmp_path / "model.onnx"))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret.bin")
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ImportRefused, match="outside of its folder"):
        loading.load(tmp_path / "model.onnx")


def pointing(file: Path, *entries: tuple[str, str], inside: bool = False) -> Path:
    """Write a model whose first weight lies in a file; `inside`: it is one of an inner graph."""
    model = onnx.load(exported(classifier(*average_linear()), file))
    tensor = model.graph.initializer[0]
    if inside:
        inner = helper.make_graph([], "inner", [], [], initializer=[tensor])
        model.graph.node[0].attribute.append(helper.make_attribute("then", inner))
        tensor = model.graph.node[0].attribute[-1].g.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value_ in entries:
        tensor.external_data.add(key=key, value=value_)
    file.write_bytes(model.SerializeToString())
    return file


@pytest.mark.parametrize(
    "entry", [("offset", "-5"), ("offset", "x"), ("length", "99999999"), ("offset", "9999")]
)
def test_a_place_that_is_not_in_the_file_is_refused(tmp_path: Path, entry: tuple[str, str]) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(64))
    file = pointing(tmp_path / "model.onnx", ("location", "weights.bin"), entry)
    with pytest.raises(ImportRefused, match="its weights cannot be read"):
        loading.load(file)


def test_weights_of_an_inner_graph_outside_of_the_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(1 << 16))
    (tmp_path / "models").mkdir()
    file = pointing(tmp_path / "models" / "model.onnx", ("location", "../secret.bin"), inside=True)
    with pytest.raises(ImportRefused, match="outside"):
        loading.load(file)


def test_a_model_that_computes_in_half_precision_is_refused(tmp_path: Path) -> None:
    inside = Step(lambda x: x.half())
    network = classifier(*average_linear(Step(lambda x: x.float())), start=(inside,))
    network[1:-1].half()
    path = exported(network, tmp_path / "half.onnx", example=torch.zeros(1, 3, SIDE_PX, SIDE_PX))
    with pytest.raises(ImportRefused, match=r"computes in float16.*import the float32 model"):
        convert(loading.load(path), wanted())
    with pytest.raises(ImportRefused, match="must be float32 or uint8"):
        convert(graph_of([POOL, FLAT], [value("x", 10, 1, 3, 32, 32)], [ANSWER]), wanted())


@pytest.mark.parametrize("data", [b"", b"no model at all", b"\x08\x07"])
def test_a_file_that_is_no_model_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(data)
    with pytest.raises(ImportRefused, match="not an ONNX"):
        loading.load(tmp_path / "model.onnx")
