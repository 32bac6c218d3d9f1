"""Let Reshape nodes and pools that were written for one size follow the size of their input.

Exporters write the shape of the example into a Reshape: [1, 96, 3136] for features of 96×56×56. The
shapes before and after show which axes were kept, merged and split. The rest follows at any size.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx
from onnx import helper

from training.surgery.building.builder import Builder
from training.surgery.graph_index import GraphIndex, attributes

GLOBAL = {"AveragePool": "GlobalAveragePool", "MaxPool": "GlobalMaxPool"}
LEAST_GLOBAL = 4
"""A window over everything is global pooling if it has at least this many cells; a smaller one may
be a pool between layers."""
Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]


@dataclass(frozen=True)
class Group:
    """Neighbouring axes before and after a Reshape that hold the same elements."""

    before: Shape
    after: Shape


def groups(before: Shape, after: Shape) -> list[Group]:
    """Split two shapes of the same elements into the smallest groups of axes that match."""
    found: list[Group] = []
    i = j = 0
    while i < len(before) and j < len(after):
        first, second = i, j
        many, wanted = before[i], after[j]
        i, j = i + 1, j + 1
        while many != wanted:
            if many < wanted:
                many, i = many * before[i], i + 1
            else:
                wanted, j = wanted * after[j], j + 1
        found.append(Group(tuple(range(first, i)), tuple(range(second, j))))
    # What is left over are axes of one element.
    found += [Group((at,), ()) for at in range(i, len(before))]
    found += [Group((), (at,)) for at in range(j, len(after))]
    return found


def constant_reshapes(index: GraphIndex) -> list[onnx.NodeProto]:
    """The Reshape nodes of image data whose shape is stored."""
    return [
        node
        for node in index.graph.node
        if node.op_type == "Reshape"
        and node.input[0] in index.of_image
        and index.is_constant(node.input[1])
    ]


def examined(index: GraphIndex) -> list[str]:
    """The tensors whose shapes `follow_sizes` needs."""
    names: list[str] = []
    for node in constant_reshapes(index):
        names += [node.input[0], node.output[0]]
    names += [node.input[0] for node in index.graph.node if node.op_type in GLOBAL]
    return list(dict.fromkeys(names))


def follow_sizes(model: onnx.ModelProto, shapes: Shapes) -> str:
    """Change the nodes of `model`; returns the first that still holds for one size, as text.

    `shapes` are those of a run at the size that the graph was made for.
    """
    index = GraphIndex(model.graph)
    fixed = {id(node) for node in constant_reshapes(index)}
    nodes: list[onnx.NodeProto] = []
    bound = ""
    work = onnx.GraphProto()
    builder = Builder(work, "quincunx.sizes")
    for node in model.graph.node:
        if id(node) in fixed:
            before, after = shapes[node.input[0]], shapes[node.output[0]]
            found = groups(before, after)
            if not bound and not all(_holds(group, before, after) for group in found):
                bound = f"Reshape from {list(before)} to {list(after)}"
            node.input[1] = _new_shape(builder, node.input[0], found, before, after)
            for attribute in [a for a in node.attribute if a.name == "allowzero"]:
                node.attribute.remove(attribute)
        elif node.op_type in GLOBAL and _covers_everything(node, shapes.get(node.input[0], ())):
            plain = helper.make_node(GLOBAL[node.op_type], node.input, node.output, node.name)
            node.CopyFrom(plain)
        nodes += [onnx.NodeProto.FromString(one.SerializeToString()) for one in work.node]
        del work.node[:]
        nodes.append(onnx.NodeProto.FromString(node.SerializeToString()))
    model.graph.initializer.extend(work.initializer)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return bound


def _covers_everything(node: onnx.NodeProto, shape: Shape) -> bool:
    found = attributes(node)
    kernel = tuple(found.get("kernel_shape", ()))
    plain = not any(found.get("pads", ())) and len(node.output) == 1
    return plain and len(shape) == 4 and kernel == shape[2:] and min(kernel) >= LEAST_GLOBAL


def _holds(group: Group, before: Shape, after: Shape) -> bool:
    """Whether the group is right at every size: kept or merged axes, or channels that split."""
    if len(group.after) < 2 or group.before == (1,):
        return True
    return _splits_channels(group, before, after)


def _splits_channels(group: Group, before: Shape, after: Shape) -> bool:
    """(C, h, w) -> (groups, all the rest), as in group normalization."""
    several = group.before[:1] == (1,) and len(group.before) > 1 and len(group.after) == 2
    return several and before[1] % after[group.after[0]] == 0


def _new_shape(
    builder: Builder, given: str, found: list[Group], before: Shape, after: Shape
) -> str:
    """The name of the new shape: a stored one where copied axes and one -1 are enough."""
    axes: list[int | str] = list(after)
    moved: list[tuple[int, Group]] = []
    for group in found:
        if not group.before or not group.after:
            continue
        at = group.after[0]
        if group.before == group.after == (at,):
            axes[at] = 0  # copied from the same axis of the input
        elif _splits_channels(group, before, after):
            moved.append((group.after[1], group))
        elif group.before != (1,):  # channels that split do not depend on the size
            moved.append((at, group))
    if len(moved) == 1:
        axes[moved[0][0]] = -1
    elif moved:
        shape = builder.node("Shape", given)
        for at, group in moved:
            sides = builder.node("Gather", shape, builder.integers(*group.before))
            length = builder.node("ReduceProd", sides) if len(group.before) > 1 else sides
            rest = prod(after[one] for one in group.after if one != at)
            axes[at] = builder.node("Div", length, builder.integers(rest)) if rest > 1 else length
    if not any(isinstance(axis, str) for axis in axes):
        return builder.store(axes, np.int64)
    # In a computed shape, a copied axis may also stand at its own place as 0.
    parts = [axis if isinstance(axis, str) else builder.integers(axis) for axis in axes]
    return builder.node("Concat", *parts, axis=0)
