"""The input and the output of a classifier's graph, as its file declares them."""

from dataclasses import dataclass

import onnx
from onnx import TensorProto

from service.errors import ImportRefused
from training.surgery.wanted import Layout, Wanted

INPUT_TYPES: dict[int, str] = {
    TensorProto.FLOAT: "float32",
    TensorProto.UINT8: "uint8",
}


@dataclass(frozen=True)
class Signature:
    """One input of images, one output of classes. A side or batch of None is free."""

    input: str
    element: int
    layout: Layout
    batch: int | None
    height: int | None
    width: int | None
    output: str

    @property
    def fixed_sides(self) -> tuple[int, int] | None:
        """(height, width), where the file fixes at least one of them."""
        if self.height is None and self.width is None:
            return None
        return (self.height or self.width or 0, self.width or self.height or 0)

    def shape(self, number: int, height: int, width: int) -> tuple[int, int, int, int]:
        """The shape of the input for this number of images of this size."""
        if self.layout == "NCHW":
            return number, 3, height, width
        return number, height, width, 3


def described(model: onnx.ModelProto) -> str:
    """The inputs and outputs as text: ``input: float32[1, 3, 224, 224] -> output: float32[…]``."""
    ends = (_inputs(model), model.graph.output)
    return " -> ".join(", ".join(map(_described, part)) or "nothing" for part in ends)


def read(model: onnx.ModelProto, wanted: Wanted) -> Signature:
    """Find the input of images and the output of classes.

    Raises:
        ImportRefused: several inputs or outputs, or an input that holds no RGB images.
    """
    inputs = _inputs(model)
    if len(inputs) != 1:
        raise ImportRefused(
            f"the model must have one input, the images, but has {len(inputs)}: {described(model)}"
        )
    outputs = {value.name: value for value in model.graph.output}
    if wanted.output is None and len(outputs) != 1:
        raise ImportRefused(
            f"the model has {len(outputs)} outputs, of which one must be named (--output NAME): "
            f"{', '.join(map(_described, outputs.values()))}"
        )
    output = wanted.output or next(iter(outputs))
    if output not in outputs:
        raise ImportRefused(f"the model has no output {output!r}; it has: {', '.join(outputs)}")
    kind = inputs[0].type.tensor_type
    axes = [dim.dim_value or None for dim in kind.shape.dim]
    if kind.elem_type not in INPUT_TYPES:
        raise ImportRefused(
            f"the input must be float32 or uint8, but is {_described(inputs[0])}: import the "
            "float32 model; fp16 is derived from it where it is served"
        )
    if len(axes) != 4:
        raise ImportRefused(f"the input must have four axes, but is {_described(inputs[0])}")
    layout = wanted.layout or _layout(axes, inputs[0])
    batch, *rest = axes
    channels, height, width = rest if layout == "NCHW" else (rest[2], rest[0], rest[1])
    if channels not in (3, None):
        raise ImportRefused(
            f"the input must hold RGB images in the layout {layout}, but is "
            f"{_described(inputs[0])}: it has {channels} channels"
        )
    return Signature(inputs[0].name, kind.elem_type, layout, batch, height, width, output)


def _inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Those without a stored value."""
    stored = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in stored]


def _layout(axes: list[int | None], value: onnx.ValueInfoProto) -> Layout:
    first, last = axes[1] == 3, axes[3] == 3
    if first != last:
        return "NCHW" if first else "NHWC"
    raise ImportRefused(
        f"the input is {_described(value)}, which does not show where the channels are: name "
        "--layout NCHW or --layout NHWC"
    )


def _described(value: onnx.ValueInfoProto) -> str:
    kind = value.type.tensor_type
    name = INPUT_TYPES.get(kind.elem_type)
    if name is None:
        known = kind.elem_type in TensorProto.DataType.values()
        name = TensorProto.DataType.Name(kind.elem_type).lower() if known else "no tensor"
    axes = [dim.dim_param or str(dim.dim_value or "?") for dim in kind.shape.dim]
    return f"{value.name}: {name}[{', '.join(axes)}]"
