"""Run a graph, and read any of its tensors."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

SEED = 20_26
MOST_IR_VERSION = 10
"""Of the file format. The runtime knows it; nothing that later versions add is used here."""


class Runner:
    """An open graph; `names` are the tensors that `run` gives, whether outputs or not."""

    def __init__(self, model: onnx.ModelProto, names: Iterable[str] | None = None) -> None:
        self.names = list(names or (value.name for value in model.graph.output))
        changed = onnx.ModelProto()
        changed.CopyFrom(model)
        del changed.graph.output[:]
        changed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in self.names)
        del changed.graph.value_info[:]
        changed.ir_version = min(changed.ir_version, MOST_IR_VERSION)
        options = ort.SessionOptions()
        options.log_severity_level = 4
        # Optimized graphs may differ in the last digits, and removed nodes cannot be read.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        self._session = ort.InferenceSession(
            changed.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def run(self, feeds: Mapping[str, NDArray]) -> dict[str, NDArray]:
        """The tensors by name. The runtime's own exceptions pass through."""
        found: list[Any] = list(self._session.run(self.names, dict(feeds)))
        return dict(zip(self.names, found, strict=True))


def values(
    model: onnx.ModelProto, feeds: Mapping[str, NDArray], names: Iterable[str]
) -> dict[str, NDArray]:
    """The values of `names` for one set of inputs."""
    names = list(names)
    return Runner(model, names).run(feeds) if names else {}


def smooth_images(number: int, height: int, width: int, seed: int = SEED) -> NDArray[np.uint8]:
    """Drawn pictures: coarse noise with finer noise on it. uint8[N, H, W, 3], seeded."""
    random = np.random.default_rng([seed, number, height, width])
    image = np.zeros((number, height, width, 3), np.float32)
    for cell, weight in ((32, 0.6), (8, 0.3), (1, 0.1)):
        rows, columns = -(-height // cell), -(-width // cell)
        noise = random.random((number, rows, columns, 3), dtype=np.float32) * weight
        noise = noise.repeat(cell, axis=1).repeat(cell, axis=2)
        image += noise[:, :height, :width]
    return (image * 255).astype(np.uint8)
