"""The network as it is served: pixels in, logits and a class map out, normalization inside.

xresnet ends in average pooling and a linear layer. Both are linear, so their order may change. The
linear layer is applied at every feature position, as a 1×1 convolution. Its mean over any window of
positions is the logits of that window. `logits` is the mean over all positions.
"""

import copy
import warnings
from collections.abc import Sequence
from typing import cast

import onnx
import torch
from onnxscript import ir, optimizer
from torch import Tensor, nn
from torch.nn.utils import remove_spectral_norm

from service.errors import ExportError
from training.surgery.notes import drop_notes

INPUT = "images"
NORMALIZE = ("normalize.scale", "normalize.shift")
OUTPUTS = ("logits", "class_map")
TAIL = ["AdaptiveAvgPool2d", "Flatten", "Dropout", "Linear"]
# Folding stops at inputs above this many elements: shapes are folded, weights keep their names.
FOLD_ELEMENTS = 16


class ServingGraph(nn.Module):
    """uint8[N, H, W, 3] -> logits float32[N, K], class_map float32[N, K, h, w]."""

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Sequential, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = _plain(network)
        self.depth = _pooling_at(self.network)
        # (pixel / 255 - mean) / std as one multiplication and one addition
        scale = torch.tensor([1 / (255 * s) for s in std], dtype=torch.float64)
        shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], dtype=torch.float64)
        self.register_buffer("scale", scale.float().view(1, 3, 1, 1))
        self.register_buffer("shift", shift.float().view(1, 3, 1, 1))
        self.eval()

    @property
    def head(self) -> nn.Linear:
        """The last layer."""
        return cast(nn.Linear, list(self.network.children())[-1])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = images.permute(0, 3, 1, 2).float() * self.scale + self.shift  # (N, 3, H, W)
        layers = list(self.network.children())
        for layer in layers[: self.depth]:
            features = layer(features)  # ends as (N, C, h, w)
        weight = self.head.weight[:, :, None, None]
        class_map = nn.functional.conv2d(features, weight, self.head.bias)
        return class_map.mean((2, 3)), class_map


def to_onnx(graph: ServingGraph) -> onnx.ModelProto:
    """Export with N, H and W dynamic; initializers carry the network's own parameter names.

    Batch normalization stays a separate node, so that the file can be read back into torch. ONNX
    Runtime fuses it into the convolutions when it loads the graph.
    """
    # The exporter would make a batch of 1, or equal sides, constant.
    example = torch.zeros((2, 64, 96, 3), dtype=torch.uint8)
    dynamic = torch.export.Dim.DYNAMIC
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.export warns about its own internals
        program = torch.onnx.export(
            graph,
            (example,),
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_shapes=({0: dynamic, 1: dynamic, 2: dynamic},),
            dynamo=True,
            optimize=False,  # optimizing would fold batch normalization into the weights
            verbose=False,
        )
    if program is None:
        raise ExportError("torch.onnx.export returned nothing")
    folded = ir.from_proto(program.model_proto)
    optimizer.fold_constants(folded, input_size_limit=FOLD_ELEMENTS)
    optimizer.remove_unused_nodes(folded)
    return _clean(ir.to_proto(folded))


def _plain(network: nn.Sequential) -> nn.Sequential:
    """A copy without spectral normalization, because its parametrised weights do not export."""
    network = copy.deepcopy(network).eval()
    for module in network.modules():
        if hasattr(module, "weight_orig"):
            remove_spectral_norm(module)
    return network


def _pooling_at(network: nn.Sequential) -> int:
    layers = list(network.children())
    tail = [type(layer).__name__ for layer in layers[-4:]]  # Flatten is fastai's own
    if tail != TAIL:
        raise ExportError(f"a network must end in {', '.join(TAIL)}, but got {', '.join(tail)}")
    return len(layers) - 4


def _clean(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drop the exporter's notes about its machine; name weights and axes for people."""
    graph = model.graph
    _drop_zero_biases(graph)
    drop_notes(model)
    model.ClearField("functions")
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = _plain_name(name)
    for initializer in graph.initializer:
        initializer.name = _plain_name(initializer.name)
    axes = {INPUT: ("N", "H", "W", None), "logits": ("N", None), "class_map": ("N", None, "h", "w")}
    for value in (*graph.input, *graph.output):
        value.ClearField("metadata_props")
        for dim, name in zip(value.type.tensor_type.shape.dim, axes[value.name], strict=True):
            if name is not None:
                dim.dim_param = name
            elif not dim.dim_value:
                raise ExportError(f"an axis of {value.name} that must be fixed is {dim.dim_param}")
    return model


def _plain_name(name: str) -> str:
    if name in ("scale", "shift"):
        return f"normalize.{name}"
    return name.removeprefix("network.")


def _drop_zero_biases(graph: onnx.GraphProto) -> None:
    """Remove biases of zeros, which the exporter gives to convolutions without a bias."""
    zeros = {
        tensor.name
        for tensor in graph.initializer
        if len(tensor.dims) == 1
        and not tensor.name.startswith("network.")
        and not onnx.numpy_helper.to_array(tensor).any()
    }
    for node in graph.node:
        if node.op_type == "Conv" and len(node.input) == 3 and node.input[2] in zeros:
            del node.input[2]
    used = {name for node in graph.node for name in node.input}
    for tensor in [t for t in graph.initializer if t.name not in used]:
        graph.initializer.remove(tensor)
