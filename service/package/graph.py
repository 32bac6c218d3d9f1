"""What a graph file holds, read before ONNX Runtime opens it.

A graph must be complete: ONNX Runtime reads external data from the current directory where a graph
comes as bytes, and no digest covers that data.
"""

# pyright: basic, reportMissingTypeStubs=false
# (onnx has type stubs only for its protobuf classes)

from collections.abc import Iterable, Iterator
from pathlib import Path

from service.console.text import shown
from service.errors import ModelPackageError

IMAGES = "images"
CHANNELS = 3
READS_FILES = frozenset({"EPContext"})
"""Operators whose attributes name files."""


def check_graph(data: bytes, path: Path) -> int:
    """Hold a graph to the contract of a package; returns its number of classes.

    images: uint8[N, H, W, 3] -> logits: float32[N, K], class_map: float32[N, K, h, w], where N, H
    and W are free and K is fixed. Nothing outside of `data` belongs to it. `path` is for messages.

    Raises:
        ModelPackageError: the graph is unreadable, reads other files, or has another signature.
    """
    import onnx  # slow to import
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(data)
    except DecodeError as error:
        raise ModelPackageError(f"{path} cannot be loaded: it is no ONNX graph") from error
    for graph in _graphs(model):
        for tensor in _tensors(graph):
            if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
                raise ModelPackageError(
                    f"{path} keeps the weights {tensor.name!r} in another file, which no digest of "
                    "the manifest covers: save the graph without external data, as "
                    "onnx.save(onnx.load(FILE), FILE) does"
                )
        for node in graph.node:
            if node.op_type in READS_FILES:
                raise ModelPackageError(
                    f"{path} has the operator {node.op_type}, which reads other files"
                )
    return _check_signature(model.graph, path)


def _check_signature(graph, path: Path) -> int:
    from onnx import TensorProto

    stored = {tensor.name for tensor in graph.initializer}
    inputs = {value.name: value for value in graph.input if value.name not in stored}
    outputs = {value.name: value for value in graph.output}
    given = inputs.get(IMAGES)
    if (
        set(inputs) != {IMAGES}
        or _element(given) != TensorProto.UINT8
        or not {"logits", "class_map"} <= set(outputs)
    ):
        raise ModelPackageError(
            f"{path} must take images: uint8[N, H, W, 3] and give logits and class_map, "
            f"but takes {_described(inputs.values())} and gives {_described(outputs.values())}"
        )
    axes = _axes(given) or []
    fixed = [axis for axis in axes[:3] if isinstance(axis, int)]
    if len(axes) != 4 or fixed or (isinstance(axes[3], int) and axes[3] != CHANNELS):
        raise ModelPackageError(
            f"{path} must take images of any number, height and width, uint8[N, H, W, 3], but "
            f"takes {_described([given])}"
        )
    for name, rank in (("logits", 2), ("class_map", 4)):
        axes = _axes(outputs[name])
        if _element(outputs[name]) != TensorProto.FLOAT or len(axes or [None] * rank) != rank:
            raise ModelPackageError(
                f"{path} must give {name} as float32 with {rank} axes, but gives "
                f"{_described([outputs[name]])}"
            )
    classes = (_axes(outputs["logits"]) or [None, None])[1]
    if not isinstance(classes, int):
        raise ModelPackageError(f"{path} must have a fixed number of classes, but has {classes!r}")
    mapped = (_axes(outputs["class_map"]) or [None, None])[1]
    if isinstance(mapped, int) and mapped != classes:
        raise ModelPackageError(
            f"{path} gives logits of {classes} classes, but a class_map of {mapped}"
        )
    return classes


def _element(value) -> int:
    return value.type.tensor_type.elem_type if value is not None else 0


def _axes(value) -> list[int | str | None] | None:
    """Fixed axes as numbers, free ones by name or as None; None where the shape is not said."""
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return None
    return [
        axis.dim_value if axis.WhichOneof("value") == "dim_value" else axis.dim_param or None
        for axis in kind.shape.dim
    ]


def _described(values: Iterable) -> str:
    from onnx import TensorProto

    def one(value) -> str:
        axes = _axes(value)
        shape = "[...]" if axes is None else f"[{', '.join(str(a or '?') for a in axes)}]"
        kind, known = _element(value), TensorProto.DataType.values()
        name = TensorProto.DataType.Name(kind).lower() if kind in known else f"type {kind}"
        return f"{shown(value.name)}: {name}{shown(shape)}"

    return ", ".join(map(one, values)) or "nothing"


def _graphs(model) -> Iterator:
    """Everything that has nodes: the graph, those inside its nodes, functions, training steps."""
    waiting = [model.graph, *model.functions]
    for step in model.training_info:
        waiting += [step.initialization, step.algorithm]
    while waiting:
        graph = waiting.pop()
        yield graph
        for attribute in _attributes(graph):
            waiting += [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def _attributes(graph) -> Iterator:
    for node in graph.node:
        yield from node.attribute
    yield from getattr(graph, "attribute_proto", ())  # a function's defaults


def _tensors(graph) -> Iterator:
    sparse = list(getattr(graph, "sparse_initializer", ()))
    yield from getattr(graph, "initializer", ())
    for attribute in _attributes(graph):
        if attribute.HasField("t"):
            yield attribute.t
        if attribute.HasField("sparse_tensor"):
            sparse.append(attribute.sparse_tensor)
        yield from attribute.tensors
        sparse += attribute.sparse_tensors
    for one in sparse:
        yield from (one.values, one.indices)
