"""A graph that does not fit its manifest, or that reads other files, is refused everywhere."""

import os
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from typer.testing import CliRunner

from service import cli
from service.errors import ModelPackageError
from service.inference.predictor import Predictor
from service.inference.runtime.session import Session
from service.package.graph import check_graph
from service.package.package import ModelPackage
from service.package.verify import verify
from tests.support.images import coloured, encoded
from tests.support.packages import constant_graph, edit_graph, edit_manifest, write_graph
from tests.support.tiny import tiny_package

Change = Callable[[onnx.ModelProto], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_package(tmp_path / "tiny", int8=False)


def refused(folder: Path, message: str) -> None:
    with pytest.raises(ModelPackageError, match=message) as caught:
        verify(folder)
    assert "\n" not in str(caught.value)


def external(tensor: TensorProto, location: str = "weights.bin") -> None:
    """Say that the content of `tensor` lies in another file."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)


def in_a_constant(model: onnx.ModelProto) -> None:
    tensor = helper.make_tensor("hidden", TensorProto.FLOAT, [1], [1.0])
    external(tensor)
    model.graph.node.append(helper.make_node("Constant", [], ["hidden"], value=tensor))


def in_a_branch(model: onnx.ModelProto) -> None:
    tensor = helper.make_tensor("hidden", TensorProto.FLOAT, [1], [1.0])
    external(tensor)
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, [1])
    branch = helper.make_graph(
        [helper.make_node("Identity", ["hidden"], ["out"])], "branch", [], [out], [tensor]
    )
    condition = helper.make_tensor("condition", TensorProto.BOOL, [], [True])
    model.graph.initializer.append(condition)
    model.graph.node.append(
        helper.make_node("If", ["condition"], ["x"], then_branch=branch, else_branch=branch)
    )


def in_a_function(model: onnx.ModelProto) -> None:
    tensor = helper.make_tensor("hidden", TensorProto.FLOAT, [1], [1.0])
    external(tensor)
    model.functions.append(
        helper.make_function(
            "own", "f", [], ["y"], [helper.make_node("Constant", [], ["y"], value=tensor)],
            [helper.make_opsetid("", 18)],
        )
    )  # fmt: skip


def sparse(model: onnx.ModelProto) -> None:
    values = helper.make_tensor("hidden", TensorProto.FLOAT, [1], [1.0])
    external(values)
    indices = helper.make_tensor("at", TensorProto.INT64, [1], [0])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))


EXTERNAL: dict[str, Change] = {
    "a weight": lambda model: external(model.graph.initializer[0]),
    "a weight above the folder": lambda m: external(m.graph.initializer[0], "../weights.bin"),
    "a weight at a path": lambda m: external(m.graph.initializer[0], "/etc/hostname"),
    "a constant": in_a_constant,
    "a branch": in_a_branch,
    "a function": in_a_function,
    "a sparse weight": sparse,
}


@pytest.mark.parametrize("where", EXTERNAL)
def test_weights_in_another_file_are_refused(
    folder: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit_graph(folder, EXTERNAL[where])
    (folder / "weights.bin").write_bytes(bytes(4096))
    refused(folder, "keeps the weights '.*' in another file, which no digest")
    monkeypatch.chdir(folder)  # where ONNX Runtime would look for it
    with pytest.raises(ModelPackageError, match="in another file"):
        Session.open(folder / "model.onnx", provider="cpu")


def test_an_operator_that_reads_a_file_is_refused(folder: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        where = {"ep_cache_context": "../engine", "embed_mode": 0}
        node = helper.make_node("EPContext", [], ["z"], domain="com.microsoft", **where)
        model.graph.node.append(node)

    edit_graph(folder, change)
    refused(folder, "EPContext, which reads other files")


def test_an_operator_that_the_runtime_has_not_got_is_one_line(folder: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node.append(helper.make_node("Magic", ["cells"], ["z"], domain="my.ops"))
        model.opset_import.append(helper.make_opsetid("my.ops", 1))

    edit_graph(folder, change)
    refused(folder, "model.onnx cannot be loaded: .*Magic")


@pytest.mark.parametrize("data", [b"\x00", b"no graph", b"ORTM" * 100, os.urandom(500)])
def test_bytes_that_are_no_graph_are_refused(folder: Path, data: bytes) -> None:
    write_graph(folder, data)
    refused(folder, "is not an ONNX graph|must take images")


def resized_axis(model: onnx.ModelProto, output: int, axis: int, to: int) -> None:
    model.graph.output[output].type.tensor_type.shape.dim[axis].dim_value = to


def typed(model: onnx.ModelProto, value: str, kind: int) -> None:
    for info in (*model.graph.input, *model.graph.output):
        if info.name == value:
            info.type.tensor_type.elem_type = kind


def with_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))


SIGNATURES: dict[str, tuple[onnx.ModelProto, str]] = {
    "fixed size": (
        constant_graph(images=["N", 64, 64, 3]),
        r"any number, height and width.*but takes images: uint8\[N, 64, 64, 3\]",
    ),
    "one image": (constant_graph(images=[1, "H", "W", 3]), r"but takes images: uint8\[1, H, W, 3"),
    "channels first": (constant_graph(images=["N", 3, "H", "W"]), r"takes images: uint8\[N, 3, H"),
    "grey": (constant_graph(images=["N", "H", "W", 1]), r"takes images: uint8\[N, H, W, 1\]"),
    "four classes": (constant_graph(4), "answers for 4 classes, but manifest.json has 3 labels"),
    "two classes": (constant_graph(2), "answers for 2 classes, but manifest.json has 3 labels"),
    "a stride of 16": (
        constant_graph(cells_px=16),
        r"class_map of shape \[1, 3, 3, 3\] for images of \[1, 96, 96, 3\], but gives \[1, 3, 6",
    ),
    "one image inside": (
        constant_graph(number="1"),
        r"logits of shape \[2, 3\] for images of \[2, 64, 64, 3\], but gives \[1, 3\]",
    ),
    "not a number": (constant_graph(value=float("nan")), "gives logits that are NaN"),
    "infinite": (constant_graph(value=float("inf")), "gives logits that are NaN or infinite"),
}


@pytest.mark.parametrize("what", SIGNATURES)
def test_a_graph_of_another_kind_is_refused(folder: Path, what: str) -> None:
    model, message = SIGNATURES[what]
    write_graph(folder, model.SerializeToString())
    refused(folder, message)


CHANGES: dict[str, tuple[Change, str]] = {
    "class map of others": (lambda m: resized_axis(m, 1, 1, 4), "class_map of 4"),
    "free classes": (
        lambda m: m.graph.output[0].type.tensor_type.shape.dim[1].Clear(),
        "fixed number of classes",
    ),
    "float images": (lambda m: typed(m, "images", TensorProto.FLOAT), "but takes images: float"),
    "images of no known type": (lambda m: typed(m, "images", 99), "takes images: type 99"),
    "logits in halves": (
        lambda m: typed(m, "logits", TensorProto.FLOAT16),
        "logits as float32 with 2 axes, but gives logits: float16",
    ),
    "flat class map": (
        lambda m: m.graph.output[1].type.tensor_type.shape.dim.pop(),
        "class_map as float32 with 4 axes",
    ),
    "another input": (with_input, "but takes images: .*, more: float"),
    "no class map": (lambda m: m.graph.output.pop(), "and gives logits: float"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_another_signature_is_refused(folder: Path, what: str) -> None:
    change, message = CHANGES[what]
    edit_graph(folder, change)
    refused(folder, message)


def test_a_default_mode_without_its_gate_is_refused(tmp_path: Path) -> None:
    folder = tiny_package(tmp_path / "tiny")

    def change(content: dict) -> None:  # type: ignore[type-arg]
        content["default_mode"] = "adaptive"
        content["calibration"] = [c for c in content["calibration"] if c["precision"] == "int8"]

    edit_manifest(folder, change)
    refused(folder, "default_mode is adaptive: tiny has no gate .* at fp32")
    # Where a mode is named the graph can be used.
    predictor = Predictor.from_package(folder, precision="fp32", provider="cpu", threads=1)
    assert predictor.classify([coloured("red")], "dense")[0].label == "red"


def test_every_command_refuses_it(folder: Path, tmp_path: Path) -> None:
    write_graph(folder, constant_graph(4).SerializeToString())
    photo = tmp_path / "p.png"
    photo.write_bytes(encoded(coloured("red")))
    model = ["--model", str(folder)]
    commands = [
        ["models", "verify", str(folder)],
        ["models", "show", str(folder)],
        ["models", "list", str(tmp_path), "--json"],
        ["classify", str(photo), *model],
        ["score", str(photo), *model, "-o", str(tmp_path / "out.csv")],
        ["evaluate", str(folder), str(tmp_path)],
        ["bench", "latency", str(folder)],
    ]
    for command in commands:
        result = CliRunner().invoke(cli.app, command)
        assert result.exit_code == 1, command
        assert "answers for 4 classes, but manifest.json has 3 labels" in result.output, command
    assert not (tmp_path / "out.csv").exists()


def test_loading_opens_no_session(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`models list` reads many packages: it holds graphs to manifests without running them."""
    monkeypatch.setattr(Session, "__init__", lambda *_, **__: pytest.fail("opened"))
    ModelPackage.load(folder)


GRAPH = constant_graph().SerializeToString()


@given(
    st.lists(st.tuples(st.integers(0, len(GRAPH) - 1), st.integers(0, 255)), max_size=4), st.data()
)
def test_no_damage_to_a_graph_is_a_traceback(
    flips: list[tuple[int, int]], data: st.DataObject
) -> None:
    damaged = bytearray(GRAPH)
    for at, value in flips:
        damaged[at] = value
    cut = data.draw(st.integers(0, len(GRAPH)))
    for candidate in (bytes(damaged), bytes(damaged[:cut])):
        assert "\n" not in refusal(candidate)


def refusal(graph: bytes) -> str:
    """What is wrong with a graph; empty where nothing is."""
    try:
        check_graph(graph, Path("model.onnx"))
    except ModelPackageError as error:
        return str(error)
    return ""
