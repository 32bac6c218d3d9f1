"""Recognize global pooling: the mean or the maximum over all cells of a feature map."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import onnx

from training.surgery.graph_index import GraphIndex, attributes, axes_of

How = Literal["mean", "max"]
NAMED: dict[str, How] = {"GlobalAveragePool": "mean", "GlobalMaxPool": "max"}
REDUCING: dict[str, How] = {"ReduceMean": "mean", "ReduceMax": "max"}
WINDOWED: dict[str, How] = {"AveragePool": "mean", "MaxPool": "max"}
FIRST, LAST = (2, 3), (1, 2)
"""The axes of height and width, with channels first and channels last."""


@dataclass(frozen=True)
class Pool:
    """A global pool: what it reads, what it gives, and how."""

    features: str
    """The tensor that is pooled, of four axes."""
    axes: tuple[int, int]
    """Its axes of height and width."""
    how: How
    output: str


def candidates(index: GraphIndex) -> list[str]:
    """The tensors whose values `read` needs."""
    kinds = {*NAMED, *REDUCING, *WINDOWED}
    nodes = [node for node in index.graph.node if node.op_type in kinds]
    inner = [index.producer.get(node.input[0]) for node in nodes]
    through = [node.input[0] for node in inner if node is not None and node.input]
    names = [name for node in nodes for name in (node.input[0], node.output[0])]
    return [name for name in dict.fromkeys((*names, *through)) if name in index.of_image]


def read(
    node: onnx.NodeProto, index: GraphIndex, shapes: Mapping[str, tuple[int, ...]]
) -> Pool | None:
    """The global pool that ends in `node`; None if it is another operator.

    `shapes` are those of one run at the size of the source. A pool over a single cell does nothing
    and is not one.
    """
    found = _read(node, index, shapes)
    if found is None:
        return None
    shape = shapes[found.features]
    return found if shape[found.axes[0]] * shape[found.axes[1]] > 1 else None


def _read(
    node: onnx.NodeProto, index: GraphIndex, shapes: Mapping[str, tuple[int, ...]]
) -> Pool | None:
    given, output = node.input[0] if node.input else "", node.output[0]
    shape = shapes.get(given)
    if shape is None:
        return None
    if node.op_type in NAMED:
        return Pool(given, FIRST, NAMED[node.op_type], output) if len(shape) == 4 else None
    if node.op_type in WINDOWED:
        return _window_of_everything(node, shape)
    if node.op_type not in REDUCING:
        return None
    how, axes = REDUCING[node.op_type], axes_of(node, index)
    if not axes:
        return None
    axes = sorted(axis % len(shape) for axis in axes)
    if pair := _sides(axes, len(shape)):
        return Pool(given, pair, how, output)
    inner = index.producer.get(given)
    if inner is None or len(axes) != 1:
        return None
    return _in_two_steps(inner, axes[0], how, output, index, shapes)


def _sides(axes: list[int], rank: int) -> tuple[int, int] | None:
    """Height and width, where the sorted `axes` are those of a tensor of four axes."""
    return next((pair for pair in (FIRST, LAST) if rank == 4 and list(pair) == axes), None)


def _window_of_everything(node: onnx.NodeProto, shape: tuple[int, ...]) -> Pool | None:
    """AveragePool or MaxPool whose window is as large as the features: a fixed graph's pool."""
    found = attributes(node)
    kernel = tuple(found.get("kernel_shape", ()))
    if len(shape) != 4 or kernel != shape[2:] or any(found.get("pads", ())):
        return None
    return Pool(node.input[0], FIRST, WINDOWED[node.op_type], node.output[0])


def _in_two_steps(
    inner: onnx.NodeProto,
    axis: int,
    how: How,
    output: str,
    index: GraphIndex,
    shapes: Mapping[str, tuple[int, ...]],
) -> Pool | None:
    """One axis after the other, or the two axes flattened into one before."""
    features = inner.input[0] if inner.input else ""
    before, between = shapes.get(features, ()), shapes.get(inner.output[0], ())
    if len(before) != 4:
        return None
    if REDUCING.get(inner.op_type) == how:
        earlier = [one % 4 for one in axes_of(inner, index) or []]
        keeps = attributes(inner).get("keepdims", 1)
        if len(earlier) != 1:
            return None
        later = axis if keeps or axis < earlier[0] else axis + 1
        pair = _sides(sorted((earlier[0], later)), 4)
        return Pool(features, pair, how, output) if pair else None
    if inner.op_type not in ("Reshape", "Flatten") or len(between) != 3:
        return None
    number, second, third, fourth = before
    if axis == 2 and between == (number, second, third * fourth):
        return Pool(features, FIRST, how, output)
    if axis == 1 and between == (number, second * third, fourth):
        return Pool(features, LAST, how, output)
    return None
