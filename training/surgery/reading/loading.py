"""Read an ONNX file with all its weights, within the size of a package's graph."""

from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx.checker import ValidationError
from onnx.external_data_helper import load_external_data_for_model, uses_external_data

from service.console.text import reason_of
from service.errors import ImportRefused
from service.package.manifest import MAX_GRAPH_BYTES

GIB = 2**30


def load(path: Path) -> onnx.ModelProto:
    """The model of an ONNX file; weights in files beside it are read into it.

    Raises:
        ImportRefused: no ONNX file, weights that are missing, cut short or outside of the file's
            folder, or over 2 GiB.
    """
    try:
        _check_size(path.stat().st_size, path)
        model = onnx.load_model_from_string(path.read_bytes())
    except OSError as error:
        raise ImportRefused(f"{path} cannot be read: {error.strerror}") from error
    except DecodeError as error:
        raise ImportRefused(f"{path} is not an ONNX file: it cannot be decoded") from error
    if not model.graph.node:
        raise ImportRefused(f"{path} is not an ONNX model: it has no operators")
    files = {_external_file(tensor, path) for tensor in _external(model)}
    if files:
        _check_size(path.stat().st_size + sum(file.stat().st_size for file in files), path)
        try:
            load_external_data_for_model(model, str(path.parent))
        except (OSError, ValueError, ValidationError) as error:  # a place that is not in the file
            reason = reason_of(error)
            raise ImportRefused(f"{path}: its weights cannot be read: {reason}") from error
    return model


def _external(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """The tensors in other files, also those of inner graphs and of functions."""
    waiting: list[onnx.GraphProto | onnx.FunctionProto] = [model.graph, *model.functions]
    while waiting:
        graph = waiting.pop()
        if isinstance(graph, onnx.GraphProto):
            yield from filter(uses_external_data, graph.initializer)
        for node in graph.node:
            for attribute in node.attribute:
                tensors = [attribute.t] if attribute.HasField("t") else []
                yield from filter(uses_external_data, [*tensors, *attribute.tensors])
                waiting += [attribute.g] if attribute.HasField("g") else []
                waiting += attribute.graphs


def _external_file(tensor: onnx.TensorProto, path: Path) -> Path:
    location = {entry.key: entry.value for entry in tensor.external_data}.get("location", "")
    found = path.parent / location
    if not location or not found.resolve().is_relative_to(path.parent.resolve()):
        raise ImportRefused(
            f"{path} keeps the weights {tensor.name!r} in {location!r}, outside of its folder"
        )
    if not found.is_file():
        raise ImportRefused(
            f"{path} keeps the weights {tensor.name!r} in {found}, which is missing: copy it there"
        )
    return found


def _check_size(size_bytes: int, path: Path) -> None:
    if size_bytes > MAX_GRAPH_BYTES:
        raise ImportRefused(
            f"{path} and its weights have {size_bytes / GIB:.1f} GiB; the limit is 2 GiB, which is "
            "what one ONNX file can hold"
        )
