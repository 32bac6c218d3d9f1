"""Derive an fp16 graph from an fp32 graph: half the bytes per feature.

Most nodes run in float16. Normalization, the last layer and everything that depends on windows run
in float32: they cost little, and rounding would change the logits most there. Inputs and outputs
are those of the fp32 graph. It needs no torch.
"""

# pyright: basic, reportMissingTypeStubs=false
# (onnx and onnxruntime have no complete type stubs)

import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path

import onnx
import onnxruntime as ort

from service.inference.runtime.providers import ERRORS_ONLY

MATRIX_PRODUCTS = frozenset(("Conv", "ConvTranspose", "Einsum", "Gemm", "MatMul"))
"""Operators that do most of the work, and that a GPU runs faster in float16."""


def to_fp16(fp32: bytes) -> bytes:
    """The fp16 graph of an fp32 graph that `check_graph` has accepted."""
    from onnxruntime.transformers.float16 import convert_float_to_float16  # slow to import

    # Batch normalization is folded in float32, before values are rounded.
    model = _folded(fp32)
    for number, node in enumerate(model.graph.node):
        node.name = f"node_{number}"  # the converter finds nodes by name; a file may have none
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of every weight that is subnormal in float16
        half = convert_float_to_float16(
            model, keep_io_types=True, node_block_list=_in_float32(model.graph)
        )
    _drop_repeated(half.graph)
    metadata = onnx.load_model_from_string(fp32).metadata_props
    onnx.helper.set_model_props(half, {entry.key: entry.value for entry in metadata})
    return half.SerializeToString()


def runs_in_float16(graph: bytes) -> bool:
    """Whether a layer of a derived graph has float16 weights."""
    weights = onnx.load_model_from_string(graph).graph.initializer
    return any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in weights)


def _folded(graph: bytes) -> onnx.ModelProto:
    """The graph after ONNX Runtime's basic optimizations, which keep standard operators."""
    with tempfile.TemporaryDirectory(prefix="quincunx-") as folder:
        path = Path(folder) / "folded.onnx"
        options = ort.SessionOptions()
        options.log_severity_level = ERRORS_ONLY
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(path)
        ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        return onnx.load(path)


def _drop_repeated(graph: onnx.GraphProto) -> None:
    """Keep one of each cast: the converter writes one for every use of a tensor, all alike."""
    seen: set[str] = set()
    kept: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type == "Cast" and node.output[0] in seen:
            continue
        seen.update(node.output)
        kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)


def _in_float32(graph: onnx.GraphProto) -> list[str]:
    """The names of nodes that stay in float32.

    These are the nodes before the first matrix product, the last one with all nodes after it, and
    the nodes that depend on windows.
    """
    nodes = list(graph.node)
    of_windows = _depending(nodes, "windows")
    of_images = _depending(nodes, "images") - of_windows
    products = [n for n in sorted(of_images) if nodes[n].op_type in MATRIX_PRODUCTS]
    if not products:
        return [node.name for node in nodes]
    outside = {*range(products[0]), *range(products[-1], len(nodes)), *of_windows}
    return [nodes[number].name for number in sorted(outside)]


def _depending(nodes: Iterable[onnx.NodeProto], tensor: str) -> set[int]:
    """The indices of nodes that depend on `tensor`."""
    names, found = {tensor}, set[int]()
    for number, node in enumerate(nodes):  # ONNX orders nodes topologically
        if names.intersection(node.input):
            names.update(node.output)
            found.add(number)
    return found
