"""The answer to an inference request: numbers or classes, as JSON or as bytes after it."""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json
from starlette.responses import Response

from service.api.oip.request import OUTPUT, Output
from service.errors import TooLarge

MAX_ANSWER_BYTES = 32 * 1024 * 1024
NUMBER_BYTES = 24
"""The most bytes of one probability in JSON, with its comma."""
CLASS_BYTES = 24
"""Bytes of a class beside its name: probability, index, length, quotation marks."""


@dataclass(frozen=True)
class Reply:
    """Bytes of an answer beside its tensor."""

    model_name: str
    model_version: str
    id: str
    parameters: dict[str, Any]

    def send(
        self, output: Output, probabilities: NDArray[np.float32], names: list[str]
    ) -> Response:
        """Write float32[N, K] as `output` asks for it."""
        entry, data = _tensor(output, probabilities, names)
        blob = _binary(data) if output.binary else None
        if blob is None:
            entry["data"] = data if isinstance(data, list) else data.ravel().tolist()
        else:
            entry["parameters"] = {"binary_data_size": len(blob)}
        content: dict[str, Any] = {
            "model_name": self.model_name,
            "model_version": self.model_version,
            "parameters": self.parameters,
            "outputs": [entry],
        }
        if self.id:
            content["id"] = self.id
        head = to_json(content)
        if blob is None:
            return Response(head, media_type="application/json")
        return Response(
            head + blob,
            headers={"Inference-Header-Content-Length": str(len(head))},
            media_type="application/octet-stream",
        )


def check_size(output: Output, images: int, names: list[str]) -> None:
    """Refuse a request before the work if its answer would be too long.

    Raises:
        TooLarge: over `MAX_ANSWER_BYTES`.
    """
    if output.classes:
        longest = max(len(name.encode()) for name in names)
        size = images * min(output.classes, len(names)) * (longest + CLASS_BYTES)
    else:
        size = images * len(names) * (4 if output.binary else NUMBER_BYTES)
    if size > MAX_ANSWER_BYTES:
        raise TooLarge(
            f"the answer may take {size} bytes; the limit is {MAX_ANSWER_BYTES}: send fewer images "
            "at once, or ask for fewer classes"
        )


def _tensor(
    output: Output, probabilities: NDArray[np.float32], names: list[str]
) -> tuple[dict[str, Any], list[str] | NDArray[np.float32]]:
    if not output.classes:
        shape = list(probabilities.shape)
        return {"name": OUTPUT, "datatype": "FP32", "shape": shape}, probabilities
    count = min(output.classes, len(names))
    texts = [text for row in probabilities for text in _classes(row, count, names)]
    shape = [len(probabilities), count]
    return {"name": OUTPUT, "datatype": "BYTES", "shape": shape}, texts


def _classes(row: NDArray[np.float32], count: int, names: list[str]) -> list[str]:
    order = np.argsort(-row, kind="stable")[:count]
    return [f"{row[index]:.6f}:{index}:{names[index]}" for index in order]


def _binary(data: list[str] | NDArray[np.float32]) -> bytes:
    if not isinstance(data, list):
        return data.astype("<f4").tobytes()
    encoded = [text.encode() for text in data]
    return b"".join(part for text in encoded for part in (struct.pack("<I", len(text)), text))
