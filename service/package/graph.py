"""Check the content of a graph file before ONNX Runtime opens it.

A graph must be complete. If a graph is given as bytes, ONNX Runtime reads its external data from
the current directory, and no digest covers that data.
"""

# pyright: basic, reportMissingTypeStubs=false
# (onnx has type stubs only for its protobuf classes)

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from service.console.text import shown
from service.errors import ModelPackageError
from service.package.manifest import Graph, GraphKind

IMAGES = "images"
EMBEDDING = "embedding"
"""An optional output of a graph of any kind: float32[N, C], C fixed."""
CHANNELS = 3
EDGES = 4
ANY_SIZE = "any number, height and width, uint8[N, H, W, 3]"
SIGNATURES: dict[GraphKind, tuple[tuple[str, ...], dict[str, int]]] = {
    "class_map": ((), {"class_map": 4}),
    "windows": (("windows",), {"window_logits": 3}),
    "crops": ((), {}),
}
"""For each kind: its inputs in addition to the images, and its outputs in addition to the logits,
with their rank."""
CLASS_AXES = {"class_map": 1, "window_logits": 2}
READS_FILES = frozenset({"EPContext"})
"""Operators whose attributes name files."""


def check_graph(data: bytes, path: Path, graph: Graph | None = None) -> int:
    """Check a graph file against the contract of a package; return its number of classes.

    images: uint8[N, H, W, 3] -> logits: float32[N, K], where N is free and K is fixed. Kind
    `class_map` also gives class_map: float32[N, K, h, w]. Kind `windows` also takes windows:
    float32[V, 4] and gives window_logits: float32[N, V, K]. H and W are free, or the only size of
    the manifest. If the manifest has `graph.embedding`, the graph gives embedding: float32[N, C].
    `data` must hold the whole graph. `path` is for messages. Without `graph` the kind is detected
    from the file, and any size is accepted.

    Raises:
        ModelPackageError: the graph is unreadable, reads other files, or has another signature.
    """
    import onnx  # slow to import
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(data)
    except DecodeError as error:
        raise ModelPackageError(f"{path} cannot be loaded: it is not an ONNX graph") from error
    for part in _graphs(model):
        for tensor in _tensors(part):
            if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
                raise ModelPackageError(
                    f"{path} keeps the weights {tensor.name!r} in another file, which no digest of "
                    "the manifest covers: save the graph without external data, as "
                    "onnx.save(onnx.load(FILE), FILE) does"
                )
        for node in part.node:
            if node.op_type in READS_FILES:
                raise ModelPackageError(
                    f"{path} has the operator {node.op_type}, which reads other files"
                )
    return _check_signature(model.graph, path, graph)


def _check_signature(found, path: Path, graph: Graph | None) -> int:
    from onnx import TensorProto

    stored = {tensor.name for tensor in found.initializer}
    inputs = {value.name: value for value in found.input if value.name not in stored}
    outputs = {value.name: value for value in found.output}
    kind = _kind(inputs, outputs) if graph is None else graph.kind
    taken, more = SIGNATURES[kind]
    given = inputs.get(IMAGES)
    if (
        set(inputs) != {IMAGES, *taken}
        or _element(given) != TensorProto.UINT8
        or not {"logits", *more} <= set(outputs)
    ):
        wanted = [f"{IMAGES}: uint8[N, H, W, 3]", *(f"{name}: float32[V, 4]" for name in taken)]
        raise ModelPackageError(
            f"{path} must take {' and '.join(wanted)} and give {' and '.join(('logits', *more))} "
            f"(graph kind {kind}), but takes {_described(inputs.values())} and gives "
            f"{_described(outputs.values())}"
        )
    _check_images(given, path, graph)
    for name in taken:
        _check_floats(inputs[name], 2, path, "take")
        edges = (_axes(inputs[name]) or [None, None])[1]
        if isinstance(edges, int) and edges != EDGES:
            raise ModelPackageError(
                f"{path} must take {name} as left, top, right, bottom, float32[V, 4], but takes "
                f"{_described([inputs[name]])}"
            )
    for name, rank in {"logits": 2, **more}.items():
        _check_floats(outputs[name], rank, path, "give")
    classes = (_axes(outputs["logits"]) or [None, None])[1]
    if not isinstance(classes, int):
        raise ModelPackageError(f"{path} must have a fixed number of classes, but has {classes!r}")
    for name in more:
        axis = CLASS_AXES[name]
        also = (_axes(outputs[name]) or [None] * (axis + 1))[axis]
        if isinstance(also, int) and also != classes:
            raise ModelPackageError(
                f"{path} gives logits of {classes} classes, but a {name} of {also}"
            )
    if graph is not None and graph.embedding is not None:
        _check_embedding(outputs, path, graph.embedding)
    return classes


def _check_embedding(outputs, path: Path, channels: int) -> None:
    if EMBEDDING not in outputs:
        raise ModelPackageError(
            f"{path} must give {EMBEDDING}, because the manifest has graph.embedding {channels}, "
            f"but gives {_described(outputs.values())}"
        )
    _check_floats(outputs[EMBEDDING], 2, path, "give")
    if (_axes(outputs[EMBEDDING]) or [None, None])[1] != channels:
        raise ModelPackageError(
            f"{path} must give {EMBEDDING}: float32[N, {channels}], as graph.embedding of the "
            f"manifest says, but gives {_described([outputs[EMBEDDING]])}"
        )


def _kind(inputs: Collection[str], outputs: Collection[str]) -> GraphKind:
    """The kind of a graph, detected from its names. The manifest of a package states the kind."""
    if "windows" in inputs:
        return "windows"
    return "class_map" if "class_map" in outputs else "crops"


def _check_images(given, path: Path, graph: Graph | None) -> None:
    """Check the axes of the images.

    N is free, and there are three channels. H and W are free, or the only size in the manifest.
    """
    axes = _axes(given) or []
    only = graph.sizes[0] if graph and graph.sizes != "dynamic" and len(graph.sizes) == 1 else None
    fits = len(axes) == 4 and not isinstance(axes[0], int)
    fits = fits and not (isinstance(axes[3], int) and axes[3] != CHANNELS)
    if graph is not None:
        sides = zip(axes[1:3], only or (None, None), strict=False)
        fits = fits and all(not isinstance(axis, int) or axis == side for axis, side in sides)
    if not fits:
        wanted = f"any number, uint8[N, {only[0]}, {only[1]}, 3]" if only else ANY_SIZE
        raise ModelPackageError(
            f"{path} must take images of {wanted}, but takes {_described([given])}"
        )


def _check_floats(value, rank: int, path: Path, verb: str) -> None:
    from onnx import TensorProto

    axes = _axes(value)
    if _element(value) != TensorProto.FLOAT or len(axes or [None] * rank) != rank:
        raise ModelPackageError(
            f"{path} must {verb} {value.name} as float32 with {rank} axes, but {verb}s "
            f"{_described([value])}"
        )


def _element(value) -> int:
    return value.type.tensor_type.elem_type if value is not None else 0


def _axes(value) -> list[int | str | None] | None:
    """Fixed axes as numbers, free axes by name or as None.

    None: the file does not give the shape.
    """
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
    """Everything with nodes: the graph, graphs inside its nodes, functions, training steps."""
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
