"""Run batches through fixed buffers (ONNX Runtime's I/O binding), padded to a few batch sizes.

On a GPU a new shape costs a search for algorithms, and a CUDA graph can be replayed only on the
addresses and shapes it was recorded with. So batches are padded up to a bucket, every bucket of
every shape has its own buffers, and its graph is recorded once. The same code runs on the CPU
provider, where it only saves allocations; tests use it there, without a GPU.
"""

# pyright: basic, reportMissingTypeStubs=false
# (onnxruntime has no type stubs)

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from threading import Lock
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

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
    windows: Any
    result: Any
    options: Any


_Key = tuple[tuple[int, ...], str, int | None]


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
        self._bindings: OrderedDict[_Key, _Binding] = OrderedDict()
        self._map_cells: dict[tuple[int, ...], list[int]] = {}
        """Height and width of the class map for each size of the images that was met."""

    def run(
        self, views: NDArray[np.uint8], output: str, windows: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """uint8[N, H, W, 3] -> the named output for N views, any N: cut into buckets.

        `windows`, float32[V, 4], are fed to a graph that takes them.
        """
        results: list[NDArray[np.float32]] = []
        for start in range(0, len(views), BUCKETS[-1]):
            chunk = views[start : start + BUCKETS[-1]]
            full = padded(chunk, bucket(len(chunk)))
            with self._lock:
                binding = self._binding(full.shape, output, windows)
                binding.images.update_inplace(full)
                if windows is not None:
                    binding.windows.update_inplace(windows)
                self._session.run_with_iobinding(binding.io, binding.options)
                results.append(binding.result.numpy()[: len(chunk)].copy())
        return np.concatenate(results)

    def _binding(
        self, shape: tuple[int, ...], output: str, windows: NDArray[np.float32] | None
    ) -> _Binding:
        number = None if windows is None else len(windows)
        key = (shape, output, number)
        if key in self._bindings:
            self._bindings.move_to_end(key)
            return self._bindings[key]
        if len(self._bindings) >= MAX_BINDINGS:
            self._bindings.popitem(last=False)
        io = self._session.io_binding()
        images = self._buffer(shape, np.uint8)
        io.bind_ortvalue_input("images", images)
        given = None
        if number is not None:
            given = self._buffer((number, 4), np.float32)
            io.bind_ortvalue_input("windows", given)
        result = self._buffer(self._result_shape(shape, output, number), np.float32)
        io.bind_ortvalue_output(output, result)
        made = _Binding(io, images, given, result, self._options(self._graph_id()))
        self._bindings[key] = made
        return made

    def _buffer(self, shape: Sequence[int], kind: type) -> Any:
        return ort.OrtValue.ortvalue_from_shape_and_type(shape, kind, self._device, 0)

    def _options(self, graph_id: str) -> Any:
        options = ort.RunOptions()
        options.only_execute_path_to_fetches = True
        if self._graphs:
            options.add_run_config_entry("gpu_graph_id", graph_id)
        return options

    def _graph_id(self) -> str:
        """A CUDA graph for the first bindings only, because graphs are never freed."""
        number = next(self._ids)
        return str(number) if number <= MAX_BINDINGS else NO_GRAPH

    def _result_shape(self, shape: tuple[int, ...], output: str, windows: int | None) -> list[int]:
        if output == "logits":
            return [shape[0], self._classes]
        if output == "window_logits" and windows is not None:
            return [shape[0], windows, self._classes]
        size = shape[1:3]
        if size not in self._map_cells:
            self._map_cells[size] = self._cells_of(shape)
        return [shape[0], self._classes, *self._map_cells[size]]

    def _cells_of(self, shape: tuple[int, ...]) -> list[int]:
        """Height and width of the class map. Only a run tells: networks differ at their borders."""
        io = self._session.io_binding()
        images = self._buffer(shape, np.uint8)
        images.update_inplace(np.zeros(shape, np.uint8))
        io.bind_ortvalue_input("images", images)
        io.bind_output("class_map", self._device)
        self._session.run_with_iobinding(io, self._options(NO_GRAPH))
        (class_map,) = io.get_outputs()
        return list(class_map.shape()[2:])
