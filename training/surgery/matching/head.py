"""Find the head: what stands between the global pools and the logits."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from training.surgery.graph_index import GraphIndex
from training.surgery.matching import pools as pooling
from training.surgery.matching.pools import Pool

LOGITS = "logits"
VIEWS = frozenset(
    {
        *("Cast", "Dropout", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice"),
        *("Squeeze", "Transpose", "Unsqueeze"),
    }
)
"""Operators that may give the values of their input in the same order, in another shape."""


@dataclass(frozen=True)
class Head:
    """`model` takes one input for each of `pools`, in order, and gives `logits` [M, K].

    Each input is a pooled vector [M, C] in the shape that its pool gives, such as [M, C, 1, 1].
    """

    pools: tuple[Pool, ...]
    forms: tuple[tuple[int, ...], ...]
    """The shape of each input without its first axis."""
    model: onnx.ModelProto

    @property
    def inputs(self) -> list[str]:
        return [value.name for value in self.model.graph.input]


@dataclass(frozen=True)
class Walk:
    """What was passed on the way from the logits back to the pools."""

    pools: tuple[Pool, ...]
    nodes: tuple[onnx.NodeProto, ...]
    """In the order of the graph."""
    reason: str = ""
    """Why there is no head: a path that goes around every pool."""


def walk(index: GraphIndex, output: str, shapes: Mapping[str, tuple[int, ...]]) -> Walk:
    """Go back from `output` along the data of the image, and stop at global pools."""
    waiting, seen = [output], set[str]()
    pools: dict[str, Pool] = {}
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        node = index.producer.get(name)
        if node is None:
            return Walk((), (), "the logits do not come from global pooling alone")
        if pool := pooling.read(node, index, shapes):
            pools[name] = pool
        else:
            waiting += index.data_inputs(node)
    outputs = seen - pools.keys()
    nodes = tuple(node for node in index.graph.node if outputs.intersection(node.output))
    ordered = tuple(pools[o] for node in index.graph.node for o in node.output if o in pools)
    if len({(pool.features, pool.axes) for pool in ordered}) > 1:
        names = ", ".join(sorted({pool.features for pool in ordered}))
        return Walk((), (), f"the pools read different features ({names})")
    return Walk(ordered, nodes)


def extract(
    index: GraphIndex, found: Walk, output: str, values: Mapping[str, NDArray]
) -> Head | str:
    """The head as a model of its own; text where it cannot be: the reason.

    `values` has the value of every tensor of the head in one run. A node that only changes the
    shape of its data becomes a Reshape with a constant shape. So exporters' ways to flatten, with
    fixed batches or computed shapes, all become one.
    """
    names = [pool.output for pool in found.pools]
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, TensorProto] = {}
    for node in found.nodes:
        data = index.data_inputs(node)
        if is_view(node, index, values):
            nodes.append(_reshape(data[0], node.output[0], values, constants))
            continue
        for name in node.input:
            if name in index.of_image or not name:
                continue
            value = index.constant(name)
            if value is None:
                return f"the head depends on the number of images in {node.op_type}"
            constants[name] = numpy_helper.from_array(value, name)
        nodes.append(node)
    classes = values[output].size // len(values[output])
    constants["quincunx.head.classes"] = numpy_helper.from_array(
        np.array([-1, classes]), "quincunx.head.classes"
    )
    nodes.append(
        helper.make_node(
            "Reshape", [output, "quincunx.head.classes"], [LOGITS], "quincunx.head.logits"
        )
    )
    forms = tuple(values[name].shape[1:] for name in names)
    graph = helper.make_graph(
        nodes,
        "head",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["M", *form])
            for name, form in zip(names, forms, strict=True)
        ],
        [helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, ["M", classes])],
        list(constants.values()),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return Head(found.pools, forms, model)


def is_view(node: onnx.NodeProto, index: GraphIndex, values: Mapping[str, NDArray]) -> bool:
    """Whether a node only changed the shape of its data, in the run that `values` are from."""
    data = index.data_inputs(node)
    if node.op_type not in VIEWS or len(data) != 1:
        return False
    before, after = values[data[0]], values[node.output[0]]
    return before.dtype == after.dtype and np.array_equal(before.ravel(), after.ravel())


def _reshape(
    given: str, output: str, values: Mapping[str, NDArray], constants: dict[str, TensorProto]
) -> onnx.NodeProto:
    name = f"quincunx.{output}.shape"
    shape = np.array([-1, *values[output].shape[1:]], np.int64)
    constants[name] = numpy_helper.from_array(shape, name)
    return helper.make_node("Reshape", [given, name], [output], f"{output}.reshape")
