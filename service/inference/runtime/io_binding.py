"""Run batches through fixed buffers (ONNX Runtime's I/O binding), padded to a few batch sizes.

On a GPU a new shape costs a search for algorithms, and a CUDA graph can be replayed only on the
addresses and shapes it was recorded with. So batches are padded up to a bucket, every bucket of
every shape has its own buffers, and its graph is recorded once. The same code runs on the CPU
provider, where it only saves allocations; tests use it there, without a GPU.
"""

# pyright: basic, reportMissingTypeStubs=false
# (onnxruntime has no type stubs)

from collections import OrderedDict
from dataclasses import dataclass
from itertools import count
from threading import Lock
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from service.package.manifest import STRIDE_PX

BUCKETS = (1, 2, 4, 8, 16, 32, 64)
MAX_BINDINGS = 64
NO_GRAPH = "-1"


def bucket(views: int) -> int:
    """The smallest bucket that holds `views`; the largest one where none does."""
    return next((size for size in BUCKETS if size >= views), BUCKETS[-1])


def padded(views: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """uint8[N, ...] -> uint8[size, ...]: the first view is repeated; zeros would be no faster."""
    missing = size - len(views)
    if not missing:
        return np.ascontiguousarray(views)
    return np.concatenate([views, np.repeat(views[:1], missing, axis=0)])


@dataclass(frozen=True)
class _Binding:
    io: Any
    images: Any
    result: Any
    options: Any


class IoBindingRunner:
    """A session with fixed buffers; `run` takes one batch at a time, other callers wait."""

    def __init__(
        self, session: ort.InferenceSession, classes: int, device: str, *, graphs: bool
    ) -> None:
        self._session = session
        self._classes = classes
        self._device = device
        self._graphs = graphs
        self._ids = count(1)
        self._lock = Lock()
        self._bindings: OrderedDict[tuple[tuple[int, ...], str], _Binding] = OrderedDict()

    def run(self, views: NDArray[np.uint8], output: str) -> NDArray[np.float32]:
        """uint8[N, H, W, 3] -> the named output for N views, any N: cut into buckets."""
        results: list[NDArray[np.float32]] = []
        for start in range(0, len(views), BUCKETS[-1]):
            chunk = views[start : start + BUCKETS[-1]]
            full = padded(chunk, bucket(len(chunk)))
            with self._lock:
                binding = self._binding(full.shape, output)
                binding.images.update_inplace(full)
                self._session.run_with_iobinding(binding.io, binding.options)
                results.append(binding.result.numpy()[: len(chunk)].copy())
        return np.concatenate(results)

    def _binding(self, shape: tuple[int, ...], output: str) -> _Binding:
        key = (shape, output)
        if key in self._bindings:
            self._bindings.move_to_end(key)
            return self._bindings[key]
        if len(self._bindings) >= MAX_BINDINGS:
            self._bindings.popitem(last=False)
        images = ort.OrtValue.ortvalue_from_shape_and_type(shape, np.uint8, self._device, 0)
        result = ort.OrtValue.ortvalue_from_shape_and_type(
            self._result_shape(shape, output), np.float32, self._device, 0
        )
        io = self._session.io_binding()
        io.bind_ortvalue_input("images", images)
        io.bind_ortvalue_output(output, result)
        options = ort.RunOptions()
        options.only_execute_path_to_fetches = True
        if self._graphs:
            options.add_run_config_entry("gpu_graph_id", self._graph_id())
        made = self._bindings[key] = _Binding(io, images, result, options)
        return made

    def _graph_id(self) -> str:
        """A CUDA graph for the first bindings only, because graphs are never freed."""
        number = next(self._ids)
        return str(number) if number <= MAX_BINDINGS else NO_GRAPH

    def _result_shape(self, shape: tuple[int, ...], output: str) -> list[int]:
        views, height, width, _ = shape
        if output == "logits":
            return [views, self._classes]
        return [views, self._classes, -(-height // STRIDE_PX), -(-width // STRIDE_PX)]
