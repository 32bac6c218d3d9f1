"""Whether the operators of a graph that was made for one size mean the same at every size.

A source of one size cannot be run at another one for comparison. So its sizes are only freed where
every operator is known to work alike at every size.
"""

from collections.abc import Mapping, Sequence

import onnx

from training.surgery.graph_index import GraphIndex, attributes

FREE = frozenset(
    {
        *("Abs", "Add", "And", "BatchNormalization", "Cast", "Ceil", "Clip", "Concat", "Constant"),
        *("DepthToSpace", "Div", "Dropout", "Elu", "Equal", "Erf", "Exp", "Flatten", "Floor"),
        *("Gelu", "Gemm", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "Greater"),
        *("GreaterOrEqual", "GroupNormalization", "HardSigmoid", "HardSwish", "Identity"),
        *("InstanceNormalization", "LRN", "LayerNormalization", "LeakyRelu", "Less", "Log"),
        *("MatMul", "Max", "Min", "Mish", "Mul", "Neg", "PRelu", "Pow", "Reciprocal", "ReduceL2"),
        *("ReduceMax", "ReduceMean", "ReduceProd", "ReduceSum", "Relu", "Selu", "Shape"),
        *("Sigmoid", "Softmax", "Softplus", "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub"),
        *("Sum", "Swish", "Tanh", "Transpose", "Unsqueeze", "Where"),
    }
)
"""Operators that mean the same at every size. Reshape is judged in `reading/reshapes.py`."""
WINDOWED = frozenset({"AveragePool", "Conv", "MaxPool"})
LARGE = 2**30
"""The end of a slice that means: to the end of the axis."""
Shapes = Mapping[str, tuple[int, ...]]


def upstream(index: GraphIndex, names: Sequence[str]) -> list[onnx.NodeProto]:
    """The nodes that `names` are computed by, in the order of the graph."""
    needed, nodes = set(names), []
    for node in reversed(index.graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            nodes.append(node)
    return nodes[::-1]


def bound_to_size(index: GraphIndex, nodes: Sequence[onnx.NodeProto]) -> str:
    """The first operator of image data that may hold for one size only; empty if there is none."""
    for node in nodes:
        if index.data_inputs(node) and (reason := _bound(index, node)):
            return reason
    return ""


def pads_unevenly(index: GraphIndex, nodes: Sequence[onnx.NodeProto]) -> bool:
    """Whether a node pads more on one side than on the other.

    "Same" padding of strided layers does, and its amounts follow from the size: they are those of
    the source at every size whose sides are multiples of the stride, if that of the source is one.
    """
    for node in nodes:
        pads: list[int] = []
        if node.op_type in WINDOWED:
            pads = list(attributes(node).get("pads", ()))
        elif node.op_type == "Pad" and (stored := index.constant(node.input[1])) is not None:
            pads = stored.tolist()
        if pads[: len(pads) // 2] != pads[len(pads) // 2 :]:
            return True
    return False


def _bound(index: GraphIndex, node: onnx.NodeProto) -> str:
    kind = node.op_type
    if kind in FREE or kind == "Reshape":
        return ""
    if kind in WINDOWED:
        return ""
    if kind == "Pad":
        return "" if index.is_constant(node.input[1]) else "Pad by computed amounts"
    if kind == "Resize":
        by_scale = len(node.input) == 3 and index.is_constant(node.input[2])
        return "" if by_scale else "Resize to a stored size"
    if kind == "Slice":
        parts = [index.constant(name) for name in node.input[1:4]]
        if len(parts) == 3 and all(part is not None for part in parts):
            starts, ends, axes = ([int(one) for one in part.ravel()] for part in parts)  # type: ignore[union-attr]
            open_end = all(end >= LARGE for end in ends) and all(abs(s) < 2 for s in starts)
            if axes in ([1], [-1]) or open_end:
                return ""
    return kind
