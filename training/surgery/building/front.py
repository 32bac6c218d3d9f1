"""Put the preprocessing in front: bytes in, normalized pixels in the layout of the source out."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from training.surgery.reading.signature import Signature
from training.surgery.wanted import Wanted

IMAGES = "images"


def put_in_front(model: onnx.ModelProto, signature: Signature, wanted: Wanted) -> str:
    """Let `model` take `images uint8[N, H, W, 3]` in RGB and prepare its own input from them.

    Returns the name of the tensor that takes the place of the input of the source.
    """
    graph, nodes = model.graph, []
    name = IMAGES

    def then(kind: str, *others: str, **attributes: Any) -> None:
        nonlocal name
        output = f"quincunx.normalize.{len(nodes)}"
        nodes.append(helper.make_node(kind, [name, *others], [output], output, **attributes))
        name = output

    def stored(label: str, value: np.ndarray) -> str:
        graph.initializer.append(numpy_helper.from_array(value, label))
        return label

    if wanted.channels == "BGR":
        then("Gather", stored("quincunx.normalize.bgr", np.array([2, 1, 0])), axis=3)
    if signature.element != TensorProto.UINT8:
        then("Cast", to=TensorProto.FLOAT)
    first = signature.layout == "NCHW"
    if first:
        then("Transpose", perm=[0, 3, 1, 2])
    if signature.element != TensorProto.UINT8:
        # (pixel / 255 - mean) / std as one multiplication and one addition
        mean, std = (np.asarray(value, np.float64) for value in (wanted.mean, wanted.std))
        shape = (1, 3, 1, 1) if first else (1, 1, 1, 3)
        scale, shift = (1 / (255 * std)).astype(np.float32), (-mean / std).astype(np.float32)
        if not np.array_equal(scale, np.ones(3)):
            then("Mul", stored("quincunx.normalize.scale", scale.reshape(shape)))
        if shift.any():
            then("Add", stored("quincunx.normalize.shift", shift.reshape(shape)))
    for node in graph.node:
        for at, given in enumerate(node.input):
            if given == signature.input:
                node.input[at] = name
    nodes += [onnx.NodeProto.FromString(node.SerializeToString()) for node in graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    others = [value for value in graph.input if value.name != signature.input]
    images = helper.make_tensor_value_info(IMAGES, TensorProto.UINT8, ["N", "H", "W", 3])
    inputs = [onnx.ValueInfoProto.FromString(v.SerializeToString()) for v in (images, *others)]
    del graph.input[:]
    graph.input.extend(inputs)
    return name
