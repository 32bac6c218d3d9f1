"""Cut a graph in two where crops of one image stop having much in common.

Every tensor that all later ones depend on is a place to cut. Behind a later one more layers are
shared, but the edges of the crops reach further in. Of the places with about the fewest
multiplications for five crops of a square image, the one that hands over the least is taken.
"""

# pyright: basic, reportMissingTypeStubs=false
# (onnx has type stubs only for its protobuf classes)

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod

import onnx
from onnx import NodeProto, TensorProto, helper

from service.inference.image.geometry import Size, five_boxes
from service.inference.runtime.shared_crops import Reach, shared_pixels
from service.package.manifest import InputSize

INPUT = "images"
WORTH = 0.97
"""A cut that leaves more than this share of the multiplications is not made."""
ABOUT = 0.03
"""Places that differ by less than this share of the multiplications are equally good."""
POINTWISE = frozenset(
    {
        *("Add", "BatchNormalization", "Cast", "Clip", "DequantizeLinear", "Div", "Elu", "Erf"),
        *("Exp", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Log", "Mish"),
        *("Mul", "Neg", "QuantizeLinear", "Relu", "Selu", "Sigmoid", "Softplus", "Sqrt", "Sub"),
        "Tanh",
    }
)
"""What one cell becomes depends on that cell."""
WINDOWED = frozenset(("Conv", "MaxPool", "AveragePool"))
CHANNELS_FIRST = [0, 3, 1, 2]


@dataclass(frozen=True)
class Split:
    """A graph as two: uint8[N, H, W, 3] -> `tensor` [N, C, h, w] -> logits."""

    stem: bytes
    trunk: bytes
    tensor: str
    reach: Reach


@dataclass(frozen=True)
class Place:
    """A tensor that everything after it depends on."""

    tensor: str
    reach: Reach
    multiplications: float
    """For each pixel of the input, up to here."""


def split(graph: bytes, sizes: InputSize) -> Split | None:
    """An ONNX graph in two, for a model of such sizes; None where nothing would be saved."""
    model = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(graph))
    place = best_place(model.graph, sizes)
    if place is None:
        return None
    extractor = onnx.utils.Extractor(model)
    stem = extractor.extract_model([INPUT], [place.tensor])
    trunk = extractor.extract_model([place.tensor], ["logits"])
    return Split(stem.SerializeToString(), trunk.SerializeToString(), place.tensor, place.reach)


def best_place(graph: onnx.GraphProto, sizes: InputSize) -> Place | None:
    """Where to cut `graph`, if anywhere."""
    found, total = places(graph)
    boxes = five_boxes(Size(sizes.resize_px, sizes.resize_px), sizes.crop_px)
    apart = sum(box.pixels for box in boxes)
    known = (info for info in graph.value_info if len(info.type.tensor_type.shape.dim) == 4)
    handed_over = {info.name: _bytes_per_cell(info) for info in known}

    def work(place: Place) -> float:
        once = place.multiplications * shared_pixels(boxes, place.reach)
        return (once + (total - place.multiplications) * apart) / (total * apart)

    possible = [p for p in found if p.reach.strip_px <= sizes.crop_px and p.tensor in handed_over]
    least = min(map(work, possible), default=1.0)
    if least > WORTH:
        return None
    good = (place for place in possible if work(place) <= least + ABOUT)
    return min(good, key=lambda p: handed_over[p.tensor] / p.reach.stride_px**2)


def places(graph: onnx.GraphProto) -> tuple[list[Place], float]:
    """Every place to cut, and the multiplications of the whole graph for each pixel."""
    shapes = _weight_shapes(graph)
    used_last: dict[str, int] = {}
    for number, node in enumerate(graph.node):
        used_last |= dict.fromkeys(node.input, number)
    used_last |= dict.fromkeys((output.name for output in graph.output), len(graph.node))
    # None: not understood, such as attention, which sees all cells at once.
    reaches: dict[str, Reach | None] = {INPUT: Reach()}
    strides: dict[str, int] = {INPUT: 1}
    found: list[Place] = []
    total = 0.0
    for number, node in enumerate(graph.node):
        of_image = [name for name in node.input if name in reaches]
        if not of_image:
            continue
        reach = _after(node, [reaches[name] for name in of_image])
        stride = reach.stride_px if reach else strides[of_image[0]] * _stride(node)
        reaches |= dict.fromkeys(node.output, reach)
        strides |= dict.fromkeys(node.output, stride)
        if node.op_type == "Conv":
            total += prod(shapes.get(node.input[1], ())) / stride**2
        alive = [name for name in reaches if used_last.get(name, -1) > number]
        if alive == [node.output[0]] and reach:
            found.append(Place(node.output[0], reach, total))
    return found, total


def _after(node: NodeProto, reaches: Sequence[Reach | None]) -> Reach | None:
    """The reach of what `node` makes of tensors of such reaches; None: not understood."""
    known = [reach for reach in reaches if reach]
    if len(known) < len(reaches) or len({reach.stride_px for reach in known}) != 1:
        return None
    felt = Reach(known[0].stride_px, max(r.lead for r in known), max(r.trail for r in known))
    attributes = _attributes(node)
    if node.op_type in POINTWISE:
        return felt
    if node.op_type == "Transpose":
        to_planes = attributes.get("perm") == CHANNELS_FIRST and felt == Reach()
        return felt if to_planes else None
    if node.op_type not in WINDOWED:
        return None
    plain = attributes.get("auto_pad", b"NOTSET") == b"NOTSET"
    dilated = any(by != 1 for by in attributes.get("dilations", ()))
    kernel = attributes.get("kernel_shape", ())
    strides = attributes.get("strides", [1, 1])
    pads = attributes.get("pads", [0, 0, 0, 0])
    square = len(kernel) == 2 and all(a == b for a, b in (kernel, strides, pads[:2], pads[2:]))
    if not plain or dilated or not square:
        return None
    if attributes.get("ceil_mode") and (pads[0] + pads[2] - kernel[0]) % strides[0]:
        return None
    return felt.through(kernel[0], strides[0], pads[0], pads[2])


def _stride(node: NodeProto) -> int:
    return _attributes(node).get("strides", [1])[0] if node.op_type in WINDOWED else 1


def _bytes_per_cell(info: onnx.ValueInfoProto) -> int:
    kind = info.type.tensor_type
    return kind.shape.dim[1].dim_value * helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize


def _attributes(node: NodeProto) -> dict:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def _weight_shapes(graph: onnx.GraphProto) -> dict[str, tuple[int, ...]]:
    """Of initializers, and of what they become when they are cast or dequantized."""
    tensors: Iterable[TensorProto] = graph.initializer
    shapes = {tensor.name: tuple(tensor.dims) for tensor in tensors}
    for node in graph.node:
        if node.op_type in ("Cast", "DequantizeLinear") and node.input[0] in shapes:
            shapes[node.output[0]] = shapes[node.input[0]]
    return shapes
