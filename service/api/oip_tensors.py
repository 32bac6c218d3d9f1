"""Tensors of the Open Inference Protocol: as JSON, or as bytes after it (the binary extension)."""

import json
import math
import struct
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json
from starlette.responses import Response

from service.errors import TooLarge, UsageError
from service.inference.views import Pixels

DATATYPES = {"images": "UINT8", "encoded": "BYTES"}
OUTPUT = "probabilities"


@dataclass(frozen=True)
class Input:
    """The one input of a request."""

    name: str
    shape: tuple[int, ...]
    raw: bytes | None
    """The tensor in bytes; None where it came as JSON."""
    data: Any = None

    def files(self) -> list[bytes]:
        """`encoded`: one image file each."""
        if len(self.shape) not in (1, 2) or (len(self.shape) == 2 and self.shape[1] != 1):
            raise UsageError(f"encoded must have shape [N] or [N, 1], but got {list(self.shape)}")
        if self.raw is None:
            raise UsageError("encoded must be sent as binary data: JSON cannot hold image files")
        files: list[bytes] = []
        offset = 0
        while offset < len(self.raw):
            if offset + 4 > len(self.raw):
                raise UsageError("encoded is cut short in a length")
            (size,) = struct.unpack_from("<I", self.raw, offset)
            offset += 4
            if offset + size > len(self.raw):
                raise UsageError("encoded is cut short in a file")
            files.append(self.raw[offset : offset + size])
            offset += size
        if len(files) != self.shape[0]:
            raise UsageError(f"encoded holds {len(files)} files, but its shape is {self.shape[0]}")
        return files

    def pixels(self, max_pixels: int) -> Pixels:
        """`images`: uint8[N, H, W, 3]."""
        if len(self.shape) != 4 or self.shape[3] != 3 or 0 in self.shape:
            raise UsageError(f"images must have shape [N, H, W, 3], but got {list(self.shape)}")
        if self.shape[1] * self.shape[2] > max_pixels:
            raise TooLarge(
                f"images of {self.shape[2]}×{self.shape[1]} px; the limit is "
                f"{max_pixels / 1e6:.0f} MP (QUINCUNX_MAX_PIXELS)"
            )
        size = math.prod(self.shape)
        if self.raw is not None:
            if len(self.raw) != size:
                raise UsageError(f"images has {len(self.raw)} bytes; its shape needs {size}")
            return np.frombuffer(self.raw, np.uint8).reshape(self.shape)
        try:
            values = np.asarray(self.data, np.uint8)
        except (TypeError, ValueError, OverflowError) as error:
            raise UsageError("images must be whole numbers from 0 to 255") from error
        if values.size != size:
            raise UsageError(f"images has {values.size} numbers; its shape needs {size}")
        return values.reshape(self.shape)


@dataclass(frozen=True)
class Asked:
    """A request, read."""

    id: str
    input: Input
    outputs: list[dict[str, Any]]
    parameters: dict[str, str]


def read_request(body: bytes, header_length: str | None) -> Asked:
    """Read a request of JSON, or of JSON and binary tensors.

    Raises:
        UsageError: not the protocol, or not an input of ours.
    """
    length = len(body)
    if header_length is not None:
        if not (header_length.isascii() and header_length.isdigit()) or int(
            header_length[:12]
        ) > len(body):
            raise UsageError("Inference-Header-Content-Length is not within the body")
        length = int(header_length)
    try:
        request: Any = json.loads(body[:length])
    except (ValueError, RecursionError) as error:
        raise UsageError("the body is no JSON inference request") from error
    if not isinstance(request, dict):
        raise UsageError("the body must be a JSON object with inputs")
    content = cast(dict[str, Any], request)
    parameters = _dict(content.get("parameters", {}), "parameters")
    outputs = [_dict(item, "an output") for item in _list(content.get("outputs", []), "outputs")]
    if not outputs:
        binary = parameters.get("binary_data_output") is True
        outputs = [{"name": OUTPUT, "parameters": {"binary_data": binary}}]
    for output in outputs:
        if output.get("name") != OUTPUT:
            raise UsageError(f"no output {str(output.get('name'))[:80]!r}; there is {OUTPUT!r}")
        _dict(output.get("parameters", {}), "an output's parameters")
    return Asked(
        id=str(content.get("id", ""))[:200],
        input=_read_input(_list(content.get("inputs"), "inputs"), body[length:]),
        outputs=outputs,
        parameters={name: str(value) for name, value in parameters.items()},
    )


def _read_input(inputs: list[Any], binary: bytes) -> Input:
    if len(inputs) != 1:
        raise UsageError(f"send one input, images or encoded, but got {len(inputs)}")
    tensor = _dict(inputs[0], "an input")
    name, shape = tensor.get("name"), _list(tensor.get("shape"), "shape")
    if name not in DATATYPES or tensor.get("datatype") != DATATYPES[name]:
        raise UsageError(
            f"inputs are images (UINT8) or encoded (BYTES), but got {str(name)[:80]!r} "
            f"({str(tensor.get('datatype'))[:20]})"
        )
    if not all(type(side) is int and 0 <= side < 2**31 for side in shape):
        raise UsageError("a shape is a list of whole numbers")
    size = _dict(tensor.get("parameters", {}), "an input's parameters").get("binary_data_size")
    if size is None:
        return Input(name, tuple(shape), None, tensor.get("data"))
    if size != len(binary):
        raise UsageError(f"binary_data_size is {size}, but {len(binary)} bytes follow")
    return Input(name, tuple(shape), binary)


def _dict(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{what} must be a JSON object")
    return cast(dict[str, Any], value)


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise UsageError(f"{what} must be a JSON list")
    return cast(list[Any], value)


@dataclass
class Reply:
    """An answer of the protocol."""

    model_name: str
    model_version: str
    id: str
    parameters: dict[str, Any] = field(default_factory=dict[str, Any])

    def send(
        self, outputs: list[dict[str, Any]], probabilities: NDArray[np.float32], names: list[str]
    ) -> Response:
        """Write `outputs` as they were asked for: classes or numbers, JSON or binary."""
        described: list[dict[str, Any]] = []
        blobs: list[bytes] = []
        for output in outputs:
            entry, blob = _write(output, probabilities, names)
            described.append(entry)
            if blob is not None:
                blobs.append(blob)
        content: dict[str, Any] = {
            "model_name": self.model_name,
            "model_version": self.model_version,
            "parameters": self.parameters,
            "outputs": described,
        }
        if self.id:
            content["id"] = self.id
        head = to_json(content)
        if not blobs:
            return Response(head, media_type="application/json")
        return Response(
            b"".join([head, *blobs]),
            headers={"Inference-Header-Content-Length": str(len(head))},
            media_type="application/octet-stream",
        )


def _write(
    output: dict[str, Any], probabilities: NDArray[np.float32], names: list[str]
) -> tuple[dict[str, Any], bytes | None]:
    parameters: dict[str, Any] = output.get("parameters", {})
    count = parameters.get("classification", 0)
    if type(count) is not int or count < 0:
        raise UsageError("classification must be a whole number of classes")
    if count:
        rows = [_classes(row, min(count, len(names)), names) for row in probabilities]
        entry: dict[str, Any] = {
            "name": OUTPUT,
            "datatype": "BYTES",
            "shape": [len(rows), len(rows[0])],
        }
        data: Any = [text for row in rows for text in row]
        blob = b"".join(struct.pack("<I", len(t.encode())) + t.encode() for t in data)
    else:
        entry = {"name": OUTPUT, "datatype": "FP32", "shape": list(probabilities.shape)}
        data = probabilities.ravel()
        blob = data.astype("<f4").tobytes()
        data = data.tolist()
    if parameters.get("binary_data") is True:
        entry["parameters"] = {"binary_data_size": len(blob)}
        return entry, blob
    entry["data"] = data
    return entry, None


def _classes(row: NDArray[np.float32], count: int, names: list[str]) -> list[str]:
    order = np.argsort(-row, kind="stable")[:count]
    return [f"{row[index]:.6f}:{index}:{names[index]}" for index in order]
