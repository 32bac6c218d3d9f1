"""Where to cut a graph in two: after the layers that crops of one image can share.

A graph can be cut at every tensor that all later tensors depend on. A later cut shares more layers,
but the edges of the crops then reach further into the features. `best_cut_point` counts the
multiplications for five crops of a square image at every cut point. Among the points with about the
fewest multiplications, it chooses the one with the fewest bytes to hand over.
"""

# pyright: basic, reportMissingTypeStubs=false
# (onnx has type stubs only for its protobuf classes)

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod

import onnx
from onnx import NodeProto, TensorProto, helper

from service.inference.image.geometry import Size, five_boxes
from service.inference.runtime.shared_crops import ReceptiveField, shared_pixels
from service.package.manifest import InputSize

INPUT = "images"
ENDS = ("logits", "embedding")
"""Outputs of the second part, if the graph has them."""
WORTH = 0.97
"""The graph is not cut where more than this share of the multiplications would remain."""
ABOUT = 0.03
"""Cut points that differ by less than this share of the multiplications are equally good."""
POINTWISE = frozenset(
    {
        *("Add", "BatchNormalization", "Cast", "Clip", "DequantizeLinear", "Div", "Elu", "Erf"),
        *("Exp", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Log", "Mish"),
        *("Mul", "Neg", "QuantizeLinear", "Relu", "Selu", "Sigmoid", "Softplus", "Sqrt", "Sub"),
        "Tanh",
    }
)
"""Operators in which each output cell depends only on the same cell of the input."""
WINDOWED = frozenset(("Conv", "MaxPool", "AveragePool"))
CHANNELS_FIRST = [0, 3, 1, 2]
CHANNELS = 3

logger = logging.getLogger("quincunx.session")


@dataclass(frozen=True)
class GraphParts:
    """A graph in two parts: uint8[N, H, W, 3] -> `tensor` [N, C, h, w] -> logits."""

    stem: bytes
    trunk: bytes
    tensor: str
    receptive_field: ReceptiveField


@dataclass(frozen=True)
class CutPoint:
    """A tensor that everything after it depends on."""

    tensor: str
    receptive_field: ReceptiveField
    multiplications: float
    """For each pixel of the input, from the input to this tensor."""


def split(graph: bytes, sizes: InputSize) -> GraphParts | None:
    """Cut an ONNX graph for a model with these input sizes.

    None if nothing would be saved, or if the graph cannot be cut. Its crops then run whole.
    """
    try:
        model = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(graph))
        point = best_cut_point(model.graph, sizes)
        if point is None:
            return None
        extractor = onnx.utils.Extractor(model)
        stem = extractor.extract_model([INPUT], [point.tensor])
        given = {value.name for value in model.graph.output}
        ends = [name for name in ENDS if name in given]
        trunk = extractor.extract_model([point.tensor], ends)
    except Exception as error:  # onnx's own exceptions have no common base
        logger.info("crops run whole, because the graph cannot be cut: %s", error)
        return None
    others = {value.name for value in model.graph.input} - {INPUT}
    if any(name in others for node in trunk.graph.node for name in node.input):
        return None  # the logits need more than the images
    return GraphParts(
        stem.SerializeToString(), trunk.SerializeToString(), point.tensor, point.receptive_field
    )


def best_cut_point(graph: onnx.GraphProto, sizes: InputSize) -> CutPoint | None:
    """The best point to cut `graph`; None if a cut would save too little."""
    found, total = cut_points(graph)
    if not total:
        return None
    boxes = five_boxes(Size(sizes.resize_px, sizes.resize_px), sizes.crop_px)
    apart = sum(box.pixels for box in boxes)
    known = (info for info in graph.value_info if len(info.type.tensor_type.shape.dim) == 4)
    handed_over = {info.name: _bytes_per_cell(info) for info in known}

    def work(point: CutPoint) -> float:
        once = point.multiplications * shared_pixels(boxes, point.receptive_field)
        return (once + (total - point.multiplications) * apart) / (total * apart)

    possible = [
        point
        for point in found
        if point.receptive_field.strip_px <= sizes.crop_px and point.tensor in handed_over
    ]
    least = min(map(work, possible), default=1.0)
    if least > WORTH:
        return None
    good = (point for point in possible if work(point) <= least + ABOUT)
    return min(good, key=lambda p: handed_over[p.tensor] / p.receptive_field.stride_px**2)


def cut_points(graph: onnx.GraphProto) -> tuple[list[CutPoint], float]:
    """Every cut point, and the multiplications of the whole graph for each pixel."""
    shapes = _weight_shapes(graph)
    used_last: dict[str, int] = {}
    for number, node in enumerate(graph.node):
        used_last |= dict.fromkeys(node.input, number)
    used_last |= dict.fromkeys((output.name for output in graph.output), len(graph.node))
    # None: an operator that is not handled here, such as attention, which sees all cells at once.
    fields: dict[str, ReceptiveField | None] = {INPUT: ReceptiveField()}
    strides: dict[str, int] = {INPUT: 1}
    found: list[CutPoint] = []
    total = 0.0
    for number, node in enumerate(graph.node):
        of_image = [name for name in node.input if name in fields]
        if not of_image:
            continue
        constants = [shapes.get(name, ()) for name in node.input]
        field = _after(node, [fields[name] for name in of_image], constants)
        stride = field.stride_px if field else strides[of_image[0]] * _stride(node)
        fields |= dict.fromkeys(node.output, field)
        strides |= dict.fromkeys(node.output, stride)
        if node.op_type in ("Conv", "MatMul"):  # a MatMul with weights works on every cell
            total += prod(shapes.get(node.input[1], (0,))) / stride**2
        alive = [name for name in fields if used_last.get(name, -1) > number]
        if alive == [node.output[0]] and field:
            found.append(CutPoint(node.output[0], field, total))
    return found, total


def _after(
    node: NodeProto,
    fields: Sequence[ReceptiveField | None],
    constants: Sequence[tuple[int, ...]],
) -> ReceptiveField | None:
    """The receptive field after `node`, from those of its inputs; None: not supported.

    `constants` are the shapes of its inputs that are constants; those of the others are empty.
    """
    known = [field for field in fields if field]
    if len(known) < len(fields) or len({field.stride_px for field in known}) != 1:
        return None
    felt = ReceptiveField(
        known[0].stride_px,
        max(field.margin_before for field in known),
        max(field.margin_after for field in known),
    )
    attributes = _attributes(node)
    if node.op_type in POINTWISE:
        return None if any(map(_differs_by_place, constants)) else felt
    if node.op_type == "Transpose":
        to_planes = attributes.get("perm") == CHANNELS_FIRST and felt == ReceptiveField()
        return felt if to_planes else None
    if node.op_type not in WINDOWED:
        return None
    plain = attributes.get("auto_pad", b"NOTSET") == b"NOTSET"
    dilated = any(by != 1 for by in attributes.get("dilations", ()))
    kernel = attributes.get("kernel_shape", ())
    if node.op_type == "Conv":
        kernel = kernel or constants[1][2:]  # may be left out, because the weights say it
    strides = attributes.get("strides", [1, 1])
    pads = attributes.get("pads", [0, 0, 0, 0])
    square = len(kernel) == 2 and all(a == b for a, b in (kernel, strides, pads[:2], pads[2:]))
    if not plain or dilated or not square:
        return None
    if attributes.get("ceil_mode") and (pads[0] + pads[2] - kernel[0]) % strides[0]:
        return None
    return felt.through(kernel[0], strides[0], pads[0], pads[2])


def _differs_by_place(constant: tuple[int, ...]) -> bool:
    """Whether a constant has a value of its own for each cell, as a position embedding has."""
    if len(constant) < 3:
        return False
    return constant[-2] > 1 or constant[-1] not in (1, CHANNELS)  # [1, 1, 1, 3]: before Transpose


def _stride(node: NodeProto) -> int:
    return _attributes(node).get("strides", [1])[0] if node.op_type in WINDOWED else 1


def _bytes_per_cell(info: onnx.ValueInfoProto) -> int:
    kind = info.type.tensor_type
    return kind.shape.dim[1].dim_value * helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize


def _attributes(node: NodeProto) -> dict:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def _weight_shapes(graph: onnx.GraphProto) -> dict[str, tuple[int, ...]]:
    """Shapes of the initializers, also after a cast or a dequantization."""
    tensors: Iterable[TensorProto] = graph.initializer
    shapes = {tensor.name: tuple(tensor.dims) for tensor in tensors}
    for node in graph.node:
        if node.op_type in ("Cast", "DequantizeLinear") and node.input[0] in shapes:
            shapes[node.output[0]] = shapes[node.input[0]]
    return shapes
