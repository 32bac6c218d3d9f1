"""The answer to an inference request: tensors of numbers or text, as JSON or as bytes after it."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json
from starlette.responses import Response

from service.api.oip.request import EMBEDDING, FLAG, OUTPUT, SET, Output
from service.errors import TooLarge

MAX_ANSWER_BYTES = 32 * 1024 * 1024
NUMBER_BYTES = 24
"""The most bytes of one number in JSON, with its comma."""
TRUTH_BYTES = 6
"""The most bytes of a truth value in JSON, with its comma."""
CLASS_BYTES = 24
"""Bytes of a class beside its name: probability, index, length, quotation marks."""

Numbers = NDArray[np.float32] | NDArray[np.bool_]


@dataclass(frozen=True)
class Reply:
    """What an answer says beside its tensors."""

    model_name: str
    model_version: str
    id: str
    parameters: dict[str, Any]

    def send(self, tensors: Sequence[tuple[Output, Numbers]], names: list[str]) -> Response:
        """Write each tensor as its output asks for it. `names` are those of the classes."""
        entries: list[dict[str, Any]] = []
        blobs: list[bytes] = []
        for output, values in tensors:
            entry, data = _tensor(output, values, names)
            entries.append(entry)
            if output.binary:
                blobs.append(_binary(data))
                entry["parameters"] = {"binary_data_size": len(blobs[-1])}
            else:
                entry["data"] = data if isinstance(data, list) else data.ravel().tolist()
        content: dict[str, Any] = {
            "model_name": self.model_name,
            "model_version": self.model_version,
            "parameters": self.parameters,
            "outputs": entries,
        }
        if self.id:
            content["id"] = self.id
        head = to_json(content)
        if not blobs:
            return Response(head, media_type="application/json")
        return Response(
            head + b"".join(blobs),
            headers={"Inference-Header-Content-Length": str(len(head))},
            media_type="application/octet-stream",
        )


def check_size(outputs: Sequence[Output], images: int, names: list[str], channels: int = 0) -> None:
    """Refuse a request before the work if its answer would be too long.

    `channels` are the numbers of an embedding.

    Raises:
        TooLarge: over `MAX_ANSWER_BYTES`.
    """
    size = images * sum(_bytes_of_image(output, names, channels) for output in outputs)
    if size > MAX_ANSWER_BYTES:
        raise TooLarge(
            f"the answer may take {size} bytes; the limit is {MAX_ANSWER_BYTES}: send fewer images "
            "at once, or ask for fewer classes or outputs"
        )


def _bytes_of_image(output: Output, names: list[str], channels: int) -> int:
    if output.classes:
        longest = max(len(name.encode()) for name in names)
        return min(output.classes, len(names)) * (longest + CLASS_BYTES)
    numbers = {OUTPUT: len(names), SET: len(names), EMBEDDING: channels}.get(output.name, 1)
    if output.name in (FLAG, SET):
        return numbers * (1 if output.binary else TRUTH_BYTES)
    return numbers * (4 if output.binary else NUMBER_BYTES)


def _tensor(
    output: Output, values: Numbers, names: list[str]
) -> tuple[dict[str, Any], list[str] | Numbers]:
    if not output.classes:
        kind = "BOOL" if values.dtype == np.bool_ else "FP32"
        return {"name": output.name, "datatype": kind, "shape": list(values.shape)}, values
    count = min(output.classes, len(names))
    texts = [text for row in values for text in _classes(row, count, names)]
    shape = [len(values), count]
    return {"name": output.name, "datatype": "BYTES", "shape": shape}, texts


def _classes(row: NDArray[Any], count: int, names: list[str]) -> list[str]:
    order = np.argsort(-row, kind="stable")[:count]
    return [f"{row[index]:.6f}:{index}:{names[index]}" for index in order]


def _binary(data: list[str] | Numbers) -> bytes:
    if not isinstance(data, list):
        return data.astype("?" if data.dtype == np.bool_ else "<f4").tobytes()
    encoded = [text.encode() for text in data]
    return b"".join(part for text in encoded for part in (struct.pack("<I", len(text)), text))
