"""The work of one pass: operations and bytes, counted from the ONNX graph."""

# pyright: basic, reportMissingTypeStubs=false
# (onnx has no complete type stubs)

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import onnx
from onnx import shape_inference

from service.package.manifest import Precision

ACTIVATION_BYTES: dict[Precision, int] = {"fp32": 4, "fp16": 2, "int8": 1}


@dataclass(frozen=True)
class Work:
    """The work of one pass of one image."""

    operations: int
    """Multiplications and additions of the convolutions: two for each weight used."""
    weight_bytes: int
    """Read once for each batch of any size."""
    activation_bytes: int
    """Every convolution's input read and output written once, in the graph's precision."""


def count(path: Path, precision: Precision, side_px: int) -> Work:
    """Count a pass over one square image of `side_px`.

    It counts convolutions only. Everything else is fused into them or needs few operations for each
    element.
    """
    model = onnx.load(path)
    _fix(model, (1, side_px, side_px, 3))
    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {
        value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input, *graph.output)
    }
    weights = {tensor.name: (list(tensor.dims), tensor) for tensor in graph.initializer}
    # In a quantized graph a convolution's weights come out of DequantizeLinear.
    made_from = {node.output[0]: node.input[0] for node in graph.node if node.input}
    operations = weight_bytes = activation_bytes = 0
    size = ACTIVATION_BYTES[precision]
    # Weights that a file stores as fp16 to be smaller become floats when the graph is loaded.
    float_bytes = 2 if precision == "fp16" else 4
    for node in graph.node:
        if node.op_type != "Conv":
            continue
        dims, tensor = weights[_source(node.input[1], weights, made_from)]
        given, made = shapes[node.input[0]], shapes[node.output[0]]
        if not all((*given, *made)):
            raise SystemExit(f"{path}: the shape of {node.name} could not be inferred")
        operations += 2 * prod(dims) * prod(made[2:])
        weight_bytes += prod(dims) * (1 if _is_quantized(tensor) else float_bytes)
        activation_bytes += size * (prod(given) + prod(made))
    return Work(operations, weight_bytes, activation_bytes)


def _fix(model: Any, shape: tuple[int, ...]) -> None:
    for axis, value in zip(model.graph.input[0].type.tensor_type.shape.dim, shape, strict=True):
        axis.dim_value = value


def _source(name: str, weights: dict[str, Any], made_from: dict[str, str]) -> str:
    while name not in weights:
        name = made_from[name]
    return name


def _is_quantized(tensor: Any) -> bool:
    return tensor.data_type in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
