"""Packages of every kind of graph, drawn in milliseconds; class k is the image closest to colour k.

Features are cells of `stride_px`, averaged. Kind `class_map` has a linear head, kind `windows` one
that is not linear (a distance) over an average or over an average and a maximum, kind `crops` one
that reads every cell by its position, so that it takes one size of images.
"""

import hashlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from service.package.manifest import (
    Graph,
    InputSize,
    Interpolation,
    Label,
    Manifest,
    ModeCalibration,
    Normalization,
    OnnxFile,
)
from tests.support.images import COLOURS

Drawn = Literal["class_map", "average", "maximum", "crops", "any_crops"]
SHARPNESS = 12.0
KINDS: dict[str, tuple[Drawn, int]] = {
    "class map, 16 px": ("class_map", 16),
    "class map, 8 px": ("class_map", 8),
    "windows, average": ("average", 16),
    "windows, maximum": ("maximum", 16),
    "crops of one size": ("crops", 16),
    "crops": ("any_crops", 16),
}
"""A name, and what to give `kind_package`."""


def kind_package(
    folder: Path,
    drawn: Drawn = "class_map",
    stride_px: int = 16,
    *,
    crop_px: int = 48,
    resize_px: int = 72,
    interpolation: Interpolation = "bilinear",
    name: str = "kind",
    calibration: tuple[ModeCalibration, ...] = (),
    deep: bool = False,
    **more: Any,
) -> Path:
    """Write a package of one fp32 graph into `folder`; without a calibration unless it is given.

    `more` are other fields of the manifest.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = kind_graph(drawn, stride_px, crop_px, deep=deep).SerializeToString()
    (folder / "model.onnx").write_bytes(data)
    if drawn == "class_map":
        graph = Graph(stride_px=stride_px, smallest_px=stride_px)
    elif drawn == "crops":
        graph = Graph(kind="crops", sizes=((crop_px, crop_px),))
    elif drawn == "any_crops":
        graph = Graph(kind="crops", smallest_px=stride_px)
    else:
        graph = Graph(kind="windows", stride_px=stride_px, smallest_px=stride_px)
    manifest = Manifest(
        name=name,
        version="1",
        architecture={"name": drawn},
        labels=tuple(Label(index=i, id=n, name=n.title()) for i, n in enumerate(COLOURS)),
        input=InputSize(crop_px=crop_px, resize_px=resize_px, interpolation=interpolation),
        graph=graph,
        normalization=Normalization(mean=(0, 0, 0), std=(1, 1, 1), source="given"),
        files=(
            OnnxFile(
                file="model.onnx",
                precision="fp32",
                size_bytes=len(data),
                sha256=hashlib.sha256(data).hexdigest(),
            ),
        ),
        calibration=calibration,
        **{"default_mode": "none", **more},
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json(indent=1))
    return folder


def kind_graph(
    drawn: Drawn, stride_px: int, crop_px: int = 48, *, deep: bool = False
) -> onnx.ModelProto:
    """The graph of a drawn package; only that of `crops` depends on `crop_px`.

    A `deep` one has convolutions with padding before the cells, as real networks have.
    """
    made = _Nodes()
    made.features(stride_px, deep=deep)
    colours = np.array([*COLOURS.values()], np.float32) / 255  # (K, 3)
    side: str | int = crop_px if drawn == "crops" else ""
    inputs = [_value("images", TensorProto.UINT8, ["N", side or "H", side or "W", 3])]
    outputs = [_value("logits", TensorProto.FLOAT, ["N", len(colours)])]
    if drawn == "class_map":
        _linear(made, colours)
        outputs.append(_value("class_map", TensorProto.FLOAT, ["N", len(colours), "h", "w"]))
    elif drawn == "crops":
        _by_position(made, colours, crop_px // stride_px)
    elif drawn == "any_crops":
        made.add("ReduceMax", _scores(made, colours), [2, 3], output="logits", keepdims=0)
    else:
        _of_windows(made, colours, with_maximum=drawn == "maximum")
        inputs.append(_value("windows", TensorProto.FLOAT, ["V", 4]))
        outputs.append(_value("window_logits", TensorProto.FLOAT, ["N", "V", len(colours)]))
    graph = helper.make_graph(made.nodes, "kind", inputs, outputs, made.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model


class _Nodes:
    """Nodes and constants of a graph that is being drawn."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: Any, output: str = "", **attributes: Any) -> str:
        """Add a node; inputs that are no names are constants. Returns the name of its output."""
        names = [one if isinstance(one, str) else self.constant(one) for one in inputs]
        output = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(kind, names, [output], f"node_{len(self.nodes)}", **attributes)
        )
        return output

    def constant(self, value: Any) -> str:
        array = np.asarray(value)
        kind = np.float32 if array.dtype.kind == "f" else np.int64
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array.astype(kind), name))
        return name

    def features(self, stride_px: int, *, deep: bool) -> None:
        """images -> features [N, 3, h, w] from 0 to 1."""
        floats = self.add("Cast", "images", to=TensorProto.FLOAT)
        scaled = self.add("Mul", floats, 1 / 255)
        planes = self.add("Transpose", scaled, perm=[0, 3, 1, 2])
        if deep:
            random = np.random.default_rng(1)
            for outputs, inputs in ((8, 3), (8, 8), (3, 8)):
                weight = random.normal(0, 0.3, (outputs, inputs, 3, 3))
                stride = [2, 2] if outputs == 8 else [1, 1]
                conv = self.add("Conv", planes, weight, strides=stride, pads=[1, 1, 1, 1])
                planes = self.add("Relu", conv)
            stride_px //= 4
        self.add(
            "AveragePool", planes, output="features", kernel_shape=[stride_px] * 2,
            strides=[stride_px] * 2, ceil_mode=1, count_include_pad=0,
        )  # fmt: skip


def _scores(made: _Nodes, colours: np.ndarray, output: str = "") -> str:
    """[N, K, h, w]: -|x - c|^2 of each cell, up to a term that all classes share: 2 c.x - |c|^2."""
    weight = (2 * SHARPNESS * colours)[..., None, None]
    bias = -SHARPNESS * (colours**2).sum(1)
    return made.add("Conv", "features", weight, bias, output=output)


def _linear(made: _Nodes, colours: np.ndarray) -> None:
    made.add("ReduceMean", _scores(made, colours, "class_map"), [2, 3], output="logits", keepdims=0)


def _by_position(made: _Nodes, colours: np.ndarray, cells: int) -> None:
    """Cells count more from the top left to the bottom right."""
    weights = np.arange(1, cells * cells + 1, dtype=np.float32).reshape(cells, cells)
    weighed = made.add("Mul", _scores(made, colours), weights / weights.sum())
    made.add("ReduceSum", weighed, [2, 3], output="logits", keepdims=0)


def _of_windows(made: _Nodes, colours: np.ndarray, *, with_maximum: bool) -> None:
    """Pool the cells over each window, then compare with the colours."""
    rows, columns = _covered(made, 2, (1, 3)), _covered(made, 3, (0, 2))  # (V, h), (V, w)
    shares = [
        made.add("Div", covered, made.add("ReduceSum", covered, [1], keepdims=1))
        for covered in (rows, columns)
    ]
    vectors = made.add("Einsum", "features", *shares, equation="nchw,vh,vw->nvc")
    whole = made.add("Unsqueeze", made.add("ReduceMean", "features", [2, 3], keepdims=0), [1])
    if with_maximum:
        outside = [_outside(made, covered) for covered in (rows, columns)]
        low = made.add(
            "Add", made.add("Unsqueeze", outside[0], [2]), made.add("Unsqueeze", outside[1], [1])
        )  # (V, h, w)
        left = made.add(
            "Add", made.add("Unsqueeze", "features", [1]), made.add("Unsqueeze", low, [1])
        )
        most = made.add("ReduceMax", left, [3, 4], keepdims=0)  # (N, V, 3)
        vectors = made.add("Concat", vectors, most, axis=2)
        top = made.add("Unsqueeze", made.add("ReduceMax", "features", [2, 3], keepdims=0), [1])
        whole = made.add("Concat", whole, top, axis=2)
        colours = np.concatenate([colours, colours], axis=1)
    made.add("Identity", _distances(made, vectors, colours), output="window_logits")
    made.add("Squeeze", _distances(made, whole, colours), [1], output="logits")


def _outside(made: _Nodes, covered: str) -> str:
    """[V, cells]: a large negative number for cells that a window covers less than half.

    Of a window that covers no cell by half, the cell that it covers most is inside.
    """
    most = made.add("ReduceMax", covered, [1], keepdims=1)
    least = made.add("Min", made.add("Mul", most, 0.999), 0.499)
    less = made.add("Cast", made.add("Less", covered, least), to=TensorProto.FLOAT)
    return made.add("Mul", less, -1e6)


def _distances(made: _Nodes, vectors: str, colours: np.ndarray) -> str:
    """[N, V, C] -> [N, V, K]."""
    apart = made.add("Sub", made.add("Unsqueeze", vectors, [2]), colours)
    squares = made.add("Mul", apart, apart)
    return made.add("Mul", made.add("ReduceSum", squares, [3], keepdims=0), -SHARPNESS)


def _covered(made: _Nodes, axis: int, edges: tuple[int, int]) -> str:
    """[V, cells]: the share of each cell of an axis that a window covers."""
    count = made.add("Gather", made.add("Shape", "features"), axis)
    floats = made.add("Cast", count, to=TensorProto.FLOAT)
    starts = made.add("Cast", made.add("Range", 0, count, 1), to=TensorProto.FLOAT)
    low, high = (
        made.add("Mul", made.add("Gather", "windows", [edge], axis=1), floats) for edge in edges
    )
    ends = made.add("Add", starts, 1.0)
    over = made.add("Sub", made.add("Min", ends, high), made.add("Max", starts, low))
    return made.add("Max", over, 0.0)


def _value(name: str, kind: int, shape: list[Any]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)
