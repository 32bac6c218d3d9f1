"""The output `embedding`: the features before the head, averaged over all positions of the image.

It works on every graph of the package contract, whether exported, imported or quantized. The new
nodes read the tensor that the head reads, so the other outputs stay the same.
"""

from collections.abc import Iterable

import numpy as np
import onnx
from numpy.typing import NDArray

from training.surgery.building.builder import FEATURES, Builder
from training.surgery.graph_index import GraphIndex
from training.surgery.probe import smooth_images, values

EMBEDDING = "embedding"
CLASS_MAP, LOGITS, IMAGES, WINDOWS = "class_map", "logits", "images", "windows"
LINEAR = frozenset(("Gemm", "MatMul"))
KEEPS_ROWS = frozenset(
    {
        *("Add", "Cast", "DequantizeLinear", "Flatten", "Identity", "QuantizeLinear", "Reshape"),
        "Squeeze",
    }
)
"""Operators that may stand between the last linear layer and the logits."""
PROBES = 2


def add_embedding(model: onnx.ModelProto, side_px: int) -> int | None:
    """Add the output `embedding float32[N, C]`; returns C, or None if no features were found.

    A graph of kind `crops` has no known features; the input of its last linear layer is its
    embedding, if there is such a layer. The graph is run once with images of `side_px`.
    """
    if (channels := embedding_channels(model)) is not None:
        return channels
    index = GraphIndex(model.graph)
    tensor = _read_by_head(index)
    if tensor is None:
        return None
    feeds: dict[str, NDArray] = {IMAGES: smooth_images(PROBES, side_px, side_px)}
    if WINDOWS in index.inputs:
        feeds[WINDOWS] = np.array([[0, 0, 1, 1]], np.float32)
    shape = values(model, feeds, [tensor])[tensor].shape
    if len(shape) not in (2, 4) or shape[0] != PROBES:
        return None
    builder = Builder(model.graph, "quincunx.embedding")
    if len(shape) == 4:
        pooled = builder.node("GlobalAveragePool", tensor)
        builder.node("Flatten", pooled, output=EMBEDDING)
    else:
        builder.node("Identity", tensor, output=EMBEDDING)
    builder.give(EMBEDDING, ["N", shape[1]])
    return shape[1]


def embedding_channels(model: onnx.ModelProto) -> int | None:
    """C of a graph that has the output; None for another graph."""
    for value in model.graph.output:
        if value.name == EMBEDDING:
            return int(value.type.tensor_type.shape.dim[1].dim_value)
    return None


def _read_by_head(index: GraphIndex) -> str | None:
    """The tensor of features: [N, C, h, w], or [N, C] of a graph that gives logits only."""
    maps = index.producer.get(CLASS_MAP)
    if maps is not None:
        return maps.input[0]
    if FEATURES in index.producer:
        return _dequantized(index, FEATURES)
    return _before_last_layer(index)


def _dequantized(index: GraphIndex, tensor: str) -> str:
    """What the head reads of a tensor in an int8 graph: the tensor after its rounding to int8.

    A reader of the tensor before rounding would keep ONNX Runtime from running its maker in int8.
    """
    for node in index.readers[tensor]:
        if node.op_type == "QuantizeLinear":
            for reader in index.readers[node.output[0]]:
                return reader.output[0]
    return tensor


def _before_last_layer(index: GraphIndex) -> str | None:
    """The input of the last linear layer, where nothing but reshapes and sums comes after it."""
    waiting: Iterable[str] = [LOGITS]
    while len(names := list(waiting)) == 1:
        node = index.producer.get(names[0])
        if node is None:
            return None
        waiting = index.data_inputs(node)
        if node.op_type in LINEAR:
            data = list(waiting)
            return data[0] if len(data) == 1 else None
        if node.op_type not in KEEPS_ROWS:
            return None
    return None
