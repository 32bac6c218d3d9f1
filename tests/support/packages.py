"""Change a package as a mistaken hand or tool would, digests kept right where that is the point."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Let `change` alter the JSON of the manifest."""
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def edit_graph(
    folder: Path, change: Callable[[onnx.ModelProto], object], name: str = "model.onnx"
) -> None:
    """Let `change` alter a graph, and enter its new digest in the manifest."""
    model = onnx.load(folder / name)
    change(model)
    write_graph(folder, model.SerializeToString(), name)


def write_graph(folder: Path, data: bytes, name: str = "model.onnx") -> None:
    """Replace the file of a graph, and enter its digest in the manifest."""
    (folder / name).write_bytes(data)

    def enter(content: dict[str, Any]) -> None:
        (entry,) = (file for file in content["files"] if file["file"] == name)
        entry.update(size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())

    edit_manifest(folder, enter)


def constant_graph(
    classes: int = 3,
    *,
    cells_px: int = 32,
    images: list[Any] | None = None,
    value: float = 1.0,
    number: str = "N",
) -> onnx.ModelProto:
    """A graph that answers `value` for every class, whatever the image shows.

    Cells of the class map are `cells_px` wide; `number` is what it takes for the number of images:
    "N", as the contract says, or a fixed one, "1".
    """
    floats, count = TensorProto.FLOAT, {"N": "N", "1": "one"}[number]
    constants = {
        "divisor": helper.make_tensor("divisor", TensorProto.INT64, [2], [cells_px, cells_px]),
        "classes": helper.make_tensor("classes", TensorProto.INT64, [1], [classes]),
        "first": helper.make_tensor("first", TensorProto.INT64, [1], [0]),
        "sides": helper.make_tensor("sides", TensorProto.INT64, [2], [1, 2]),
        "one": helper.make_tensor("one", TensorProto.INT64, [1], [1]),
        "axes": helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3]),
    }
    nodes = [
        helper.make_node("Shape", ["images"], ["shape"]),
        helper.make_node("Gather", ["shape", "sides"], ["size"]),
        helper.make_node("Div", ["size", "divisor"], ["cells"]),
        helper.make_node("Gather", ["shape", "first"], ["N"]),
        helper.make_node("Concat", [count, "classes", "cells"], ["all"], axis=0),
        helper.make_node(
            "ConstantOfShape", ["all"], ["class_map"],
            value=helper.make_tensor("value", floats, [1], [value]),
        ),
        helper.make_node("ReduceMean", ["class_map", "axes"], ["logits"], keepdims=0),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, images or ["N", "H", "W", 3])],
        [
            helper.make_tensor_value_info("logits", floats, ["M", classes]),
            helper.make_tensor_value_info("class_map", floats, ["M", classes, "h", "w"]),
        ],
        list(constants.values()),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
