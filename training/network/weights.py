"""Weights inside a model package: stored in half the bytes, and read back into torch.

Convolution and linear weights of the fp32 graph are stored as float16, each with a Cast to float32.
ONNX Runtime folds the Cast when it loads the graph. So arithmetic stays float32, and the file is
half as large.
"""

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from service.package.package import ModelPackage
from training.export.graph import NORMALIZE

CAST_SUFFIX = ".float32"
# For smaller tensors the saved bytes are not worth another node.
MIN_ELEMENTS = 1024


def round_to_fp16(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights as a package stores them: those of `stored_as_fp16` rounded, others unchanged."""
    return {
        name: value.half().to(value.dtype) if stored_as_fp16(tuple(value.shape)) else value
        for name, value in weights.items()
    }


def stored_as_fp16(shape: tuple[int, ...]) -> bool:
    """Whether a tensor is a weight large enough to store as float16; biases and stats never are."""
    return len(shape) >= 2 and int(np.prod(shape)) >= MIN_ELEMENTS


def store_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Turn the large float32 initializers into float16 ones, each followed by a Cast.

    An initializer keeps its name; the Cast's output has the suffix ``.float32``.
    """
    graph = model.graph
    casts: list[onnx.NodeProto] = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or not stored_as_fp16(tuple(tensor.dims)):
            continue
        name = tensor.name
        half = numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(half, name))
        for node in graph.node:
            for index, value in enumerate(node.input):
                if value == name:
                    node.input[index] = name + CAST_SUFFIX
        cast = helper.make_node(
            "Cast", [name], [name + CAST_SUFFIX], name=f"{name}.cast", to=TensorProto.FLOAT
        )
        casts.append(cast)
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def weights_from_package(folder: Path) -> dict[str, torch.Tensor]:
    """The fp32 graph's weights under torch's parameter names, as float32: what `--init` loads.

    Raises:
        ModelPackageError: no valid package, or one without an fp32 graph.
    """
    return weights_of(onnx.load_model_from_string(ModelPackage.load(folder).read("fp32")))


def weights_of(model: onnx.ModelProto) -> dict[str, torch.Tensor]:
    """The initializers of an exported graph as float32, under torch's parameter names."""
    weights: dict[str, torch.Tensor] = {}
    for tensor in model.graph.initializer:
        if tensor.data_type not in (TensorProto.FLOAT, TensorProto.FLOAT16):
            continue
        value = torch.from_numpy(numpy_helper.to_array(tensor).astype(np.float32))
        if tensor.name in NORMALIZE:
            continue
        if value.ndim == 3:
            weights |= _spectral(tensor.name, value)
        else:
            weights[tensor.name] = value
    return weights


def _spectral(name: str, weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """Undo the export of self-attention's one-dimensional convolution.

    In torch its weight is divided by uᵀ·weight·v, an estimate of its largest singular value. The
    stored weight is already divided. So u is scaled to make that estimate 1. Training refines u and
    v.
    """
    u, scale, v = torch.linalg.svd(weight.flatten(1), full_matrices=False)
    return {f"{name}_orig": weight, f"{name}_u": u[:, 0] / scale[0], f"{name}_v": v[0].clone()}
