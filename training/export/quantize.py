"""An int8 graph from the fp32 graph: static, QDQ, per channel, calibrated on training images."""

import contextlib
import dataclasses
import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from service.inference.runtime.session import WHOLE_VIEW, Session
from service.package.manifest import Graph, InputSize, Mode
from training.data.dataset import Item
from training.data.samples import views

OWN_GRAPH = Graph()
"""What our own networks become."""
FEATURES = "features"
"""The name that an import gives to the last features."""


@dataclass(frozen=True)
class Quantization:
    """How to quantize. The defaults measured best.

    Activations are uint8 over the range that calibration saw. They are unsigned because AVX-512
    VNNI multiplies uint8 by int8; int8 by int8 takes 2.5 times as long. Ranges by entropy or
    percentiles were not closer to fp32 (root mean square difference of logits 0.013 and 0.014
    against 0.013).
    """

    images: int = 128
    float_head: bool = True
    """Leave the head in float: this costs nothing, and its rounding would go into the logits."""
    float_stem: int = 1
    """How many of the first convolutions stay in float. The very first one, with 3 channels, is
    slower in int8 than in float (by 16% of the whole pass) and less exact."""

    def to_json(self) -> dict[str, Any]:
        return {"method": "minmax", "activations": "uint8", **dataclasses.asdict(self)}


class _Views(CalibrationDataReader):
    """Feeds the calibrator: each image whole, and its centre crop, one view at a time.

    A graph that cannot take whole images gets the crops only.
    """

    def __init__(self, items: Sequence[Item], sizes: InputSize, graph: Graph) -> None:
        self.feeds = self._views(items, sizes, graph)

    @staticmethod
    def _views(
        items: Sequence[Item], sizes: InputSize, graph: Graph
    ) -> Iterator[dict[str, np.ndarray]]:
        more = {"windows": WHOLE_VIEW} if graph.kind == "windows" else {}
        for item in items:
            for pixels in views(item, sizes, served_modes(graph), graph):
                yield {"images": pixels[None], **more}

    def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override]
        return next(self.feeds, None)


def quantize(
    fp32: Path,
    int8: Path,
    items: Sequence[Item],
    sizes: InputSize,
    how: Quantization,
    graph: Graph = OWN_GRAPH,
) -> None:
    """Write the int8 graph of `fp32` to `int8`, calibrated on the first `how.images` of `items`.

    Normalization and the last pooling stay in float, and so do head and stem as `how` says. Inputs,
    outputs and their dynamic axes do not change. Sides must be multiples of the stride, as in every
    pass of serving. With other sides the graph fails; it never gives a wrong result.
    """
    with tempfile.TemporaryDirectory() as folder, _quiet():
        folded = Path(folder) / "folded.onnx"
        # Folds the casts of the weights, and folds batch normalization into the convolutions.
        quant_pre_process(fp32, folded, skip_symbolic_shape=True)
        _pool_by_convolution(folded)
        kept = onnx.load(folded).graph
        convolutions = [node for node in kept.node if node.op_type == "Conv"]
        left_out = _head(kept, convolutions) if how.float_head else []
        left_out += [node.name for node in convolutions[: how.float_stem]]
        quantize_static(
            folded,
            int8,
            _Views(items[: how.images], sizes, graph),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Add", "MaxPool", "Relu", "Clip"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[*left_out, *_normalization(folded)],
            calibrate_method=CalibrationMethod.MinMax,
        )


def served_modes(graph: Graph) -> tuple[Mode, ...]:
    """The modes whose views show every shape that a graph is given."""
    return ("dense", "none") if graph.takes_whole_images else ("none",)


def agreement(
    fp32: Path, int8: Path, items: Sequence[Item], sizes: InputSize, graph: Graph = OWN_GRAPH
) -> dict[str, float]:
    """How often both graphs name the same class on `items`, and how much their logits differ."""
    first, second = (Session.open(path, provider="cpu") for path in (fp32, int8))
    same, apart, count = 0, 0.0, 0
    for item in items:
        for pixels in views(item, sizes, served_modes(graph), graph):
            a, b = (session.run(pixels[None], "logits")[0] for session in (first, second))
            same += int(a.argmax() == b.argmax())
            apart += float(np.abs(a - b).mean())
            count += 1
    return {"views": count, "top1_agreement": same / count, "mean_logit_difference": apart / count}


def _pool_by_convolution(path: Path) -> None:
    """Average 2×2 pixels by a convolution of each channel with quarters, with the same result.

    ONNX Runtime's pooling of bytes goes through float, one channel after another, and takes a
    fifteenth of a pass. Quarters are exact in int8. If a window reaches over the edge, pooling
    averages only the part inside, and a convolution cannot do that. So there are no such windows
    here: if a side is not a multiple of the stride, the two paths of a block have different shapes,
    and their sum fails.
    """
    model = onnx.load(path)
    known = onnx.shape_inference.infer_shapes(model).graph.value_info
    channels = {
        v.name: v.type.tensor_type.shape.dim[1].dim_value
        for v in known
        if len(v.type.tensor_type.shape.dim) == 4
    }
    imported = any(FEATURES in node.output for node in model.graph.node)
    for at, node in enumerate(model.graph.node):
        if node.op_type != "AveragePool":
            continue
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if imported and not _divides_plainly(attributes):
            continue
        window, count = attributes["kernel_shape"], channels[node.input[0]]
        share = np.full((count, 1, *window), 1 / np.prod(window), np.float32)
        weight = onnx.numpy_helper.from_array(share, f"{node.name}.weight")
        model.graph.initializer.append(weight)
        model.graph.node[at].CopyFrom(
            onnx.helper.make_node(
                "Conv",
                [node.input[0], weight.name],
                list(node.output),
                node.name,
                kernel_shape=window,
                strides=attributes["strides"],
                group=count,
            )
        )
    onnx.save(model, path)


def _divides_plainly(attributes: dict[str, Any]) -> bool:
    """Whether pooling reads every pixel once, and nothing beyond the edge."""
    plain = attributes.get("auto_pad", b"NOTSET") == b"NOTSET"
    padded = any(attributes.get("pads", ())) or attributes.get("ceil_mode", 0)
    return plain and not padded and attributes["kernel_shape"] == attributes.get("strides")


def _head(graph: onnx.GraphProto, convolutions: Sequence[onnx.NodeProto]) -> list[str]:
    """The nodes behind the last features; of our own graphs, the last convolution."""
    needed = {FEATURES}
    before: set[str] = set()
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            before.add(node.name)
    if not before:
        return [convolutions[-1].name]
    return [node.name for node in graph.node if node.name not in before]


def _normalization(path: Path) -> list[str]:
    """The nodes between the input and the first convolution."""
    names: list[str] = []
    for node in onnx.load(path).graph.node:
        if node.op_type == "Conv":
            return names
        names.append(node.name)
    return names


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the quantizer, which logs advice to the root logger that does not apply here."""
    root: Any = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
