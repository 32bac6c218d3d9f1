"""Who makes and who reads each tensor of a graph, and which tensors carry data of the image."""

from collections import defaultdict

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

OF_SHAPE_ONLY = frozenset({"Shape", "Size"})


class GraphIndex:
    """Look-ups over a graph without subgraphs. Changes of the graph need a new index."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        self.producer: dict[str, onnx.NodeProto] = {}
        self.readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        self.inputs = [value.name for value in graph.input if value.name not in self._tensors]
        self.of_image: set[str] = set(self.inputs)
        """Tensors whose values depend on the values of the image, not only on its shape."""
        for node in graph.node:
            for name in node.input:
                self.readers[name].append(node)
            for name in node.output:
                self.producer[name] = node
            if node.op_type not in OF_SHAPE_ONLY and self.of_image.intersection(node.input):
                self.of_image.update(node.output)
            if node.op_type == "Constant":
                (value,) = node.attribute
                self._tensors[node.output[0]] = _tensor(value)

    def constant(self, name: str) -> NDArray | None:
        """The value of a stored tensor; None for any other name."""
        tensor = self._tensors.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def is_constant(self, name: str) -> bool:
        """Whether `name` is a stored tensor, or an optional input that is left out."""
        return not name or name in self._tensors

    def data_inputs(self, node: onnx.NodeProto) -> list[str]:
        """The inputs of a node that carry data of the image, each once."""
        return [name for name in dict.fromkeys(node.input) if name in self.of_image]


def attributes(node: onnx.NodeProto) -> dict:
    """The attributes of a node by name."""
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def axes_of(node: onnx.NodeProto, index: GraphIndex) -> list[int] | None:
    """The axes of a Reduce node; None if they are computed. Before opset 18 an attribute."""
    if "axes" in (found := attributes(node)):
        return list(found["axes"])
    if len(node.input) < 2 or not node.input[1]:
        return []
    axes = index.constant(node.input[1])
    return None if axes is None else [int(axis) for axis in axes.ravel()]


def remove_unused(model: onnx.ModelProto) -> None:
    """Remove the nodes and stored tensors that no output of the graph needs."""
    graph = model.graph
    needed = {value.name for value in graph.output}
    nodes = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            nodes.append(node)
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in reversed(nodes)]
    del graph.node[:]
    graph.node.extend(kept)
    for at in reversed(range(len(graph.initializer))):
        if graph.initializer[at].name not in needed:
            del graph.initializer[at]


def _tensor(value: onnx.AttributeProto) -> onnx.TensorProto:
    if value.name == "value":
        return value.t
    return numpy_helper.from_array(np.asarray(onnx.helper.get_attribute_value(value)))
