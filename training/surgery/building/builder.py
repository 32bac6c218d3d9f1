"""A small builder of ONNX nodes, for the ends that the conversion puts on graphs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FEATURES = "features"
"""The tensor [N, C, h, w] that the pools read."""
RESERVED = ("images", "windows", "logits", "class_map", "window_logits", FEATURES)
"""Names of the package contract and of this package; a source may use them for other tensors."""


class Builder:
    """Appends nodes and stored tensors to a graph; names start with `prefix`."""

    def __init__(self, graph: onnx.GraphProto, prefix: str) -> None:
        self.graph, self._prefix, self._count = graph, prefix, 0

    def node(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Append one node; returns the name of its output."""
        self._count += 1
        name = output or f"{self._prefix}.{self._count}.{kind}"
        self.graph.node.append(
            helper.make_node(kind, inputs, [name], f"{self._prefix}.{name}", **attributes)
        )
        return name

    def store(self, value: object, kind: type[np.generic], name: str = "") -> str:
        """Append a stored tensor; returns its name."""
        self._count += 1
        name = name or f"{self._prefix}.{self._count}"
        array = np.ascontiguousarray(np.asarray(value, kind))
        self.graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def integers(self, *values: int) -> str:
        """A stored int64 vector, for axes and shapes."""
        return self.store(values, np.int64)

    def give(self, name: str, axes: Sequence[int | str]) -> None:
        """Declare a float32 output of the graph."""
        self.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(axes)))

    def append(self, part: onnx.GraphProto, names: dict[str, str], prefix: str) -> None:
        """Append the nodes of `part`, with tensors renamed by `names` or else prefixed.

        The stored tensors of `part` are shared by all its copies: they keep their names.
        """
        stored = {tensor.name for tensor in part.initializer}
        there = {tensor.name for tensor in self.graph.initializer}
        self.graph.initializer.extend(t for t in part.initializer if t.name not in there)

        def renamed(name: str) -> str:
            return names.get(name, name if not name or name in stored else f"{prefix}{name}")

        for node in part.node:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.name = f"{prefix}{node.name or node.output[0]}"
            copy.ClearField("input")
            copy.ClearField("output")
            copy.input.extend(map(renamed, node.input))
            copy.output.extend(map(renamed, node.output))
            self.graph.node.append(copy)


def rename_reserved(model: onnx.ModelProto) -> dict[str, str]:
    """Rename the tensors whose names the package contract uses; returns new names by old ones."""
    new = {name: f"source.{name}" for name in RESERVED}
    graph = model.graph
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = new.get(value.name, value.name)
    for node in graph.node:
        for names in (node.input, node.output):
            for at, name in enumerate(names):
                names[at] = new.get(name, name)
    return new


def rename(model: onnx.ModelProto, old: str, new: str) -> None:
    """Rename a tensor that nodes make and read."""
    for node in model.graph.node:
        for names in (node.input, node.output):
            for at, name in enumerate(names):
                names[at] = new if name == old else name


def channels_first(builder: Builder, features: str, axes: tuple[int, int]) -> str:
    """`features` as [N, C, h, w], where `axes` are height and width."""
    return features if axes == (2, 3) else builder.node("Transpose", features, perm=[0, 3, 1, 2])
