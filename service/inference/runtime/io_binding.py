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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from service.inference.runtime import cuda_runtime
from service.inference.runtime.recording import GATE
from service.package.graph import EMBEDDING

BUCKETS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64)
"""Batch sizes of square images: all crops, and square photos. At most three eighths of a batch is
padding."""
FEW_BUCKETS = (1, 4, 16)
"""Batch sizes of other images. Photos have many shapes, and only few of one shape arrive at a time.
A graph for every size would take much time and memory."""
MAX_BINDINGS = 256
"""Shapes, outputs and buckets with buffers of their own."""
NO_GRAPH = "-1"
WHOLE_VIEW = np.array([[0, 0, 1, 1]], np.float32)


def buckets(height: int, width: int) -> tuple[int, ...]:
    """The batch sizes for images of this shape."""
    return BUCKETS if height == width else FEW_BUCKETS


def bucket(views: int, sizes: tuple[int, ...] = BUCKETS) -> int:
    """The smallest of `sizes` that holds `views`; the largest one if none does."""
    return next((size for size in sizes if size >= views), sizes[-1])


def fill(target: NDArray[np.uint8], views: NDArray[np.uint8]) -> None:
    """Copy uint8[N, ...] into uint8[size, ...]. Copies of the first view fill the rest."""
    target[: len(views)] = views
    target[len(views) :] = views[0]


@dataclass(frozen=True)
class _Binding:
    io: Any
    staged: NDArray[np.uint8]
    """Where a batch is put together, in memory that the GPU reads directly."""
    images: Any
    windows: Any
    results: tuple[Any, ...]
    options: Any


Outputs = tuple[str, ...]
"""The names of the outputs of one run."""
_Key = tuple[tuple[int, ...], Outputs, int | None]


class IoBindingRunner:
    """A session with fixed buffers; one thread of its own runs one batch at a time.

    A CUDA graph belongs to the thread that recorded it, so the thread that warms up a shape must be
    the one that serves it.
    """

    def __init__(
        self, session: ort.InferenceSession, classes: int, device: str, *, graphs: bool
    ) -> None:
        self._session = session
        self._classes = classes
        self._channels = next(
            (value.shape[1] for value in session.get_outputs() if value.name == EMBEDDING), 0
        )
        self._device = device
        self._graphs = graphs
        self._ids = count(1)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bound")
        self._bindings: OrderedDict[_Key, _Binding] = OrderedDict()
        self._map_cells: dict[tuple[int, ...], list[int]] = {}
        """Height and width of the class map for each size of the images that was met."""
        self._sealed = False
        self._takes_windows = any(value.name == "windows" for value in session.get_inputs())

    def seal(self) -> None:
        """From now on a new shape runs without a recorded graph, and nothing is kept for it.

        So it delays other batches only by one such run.
        """
        self._sealed = True

    def works(self) -> bool:
        """Whether a batch that ran before still runs.

        After some errors of CUDA no call of the process succeeds any more.
        """
        return self._thread.submit(self._works).result()

    def _works(self) -> bool:
        binding = next(iter(self._bindings.values()), None)
        if binding is None:  # nothing ran before, so nothing is known
            return True
        try:
            with GATE.running():
                self._session.run_with_iobinding(binding.io, binding.options)
        except Exception:  # the runtime's own exceptions have no common base
            return False
        return True

    def run(
        self, views: NDArray[np.uint8], output: str, windows: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """uint8[N, H, W, 3] -> the named output for N views, any N: cut into buckets.

        `windows`, float32[V, 4], are fed to a graph that takes them.
        """
        return self.run_outputs(views, (output,), windows)[0]

    def run_with_embedding(
        self, views: NDArray[np.uint8], output: str, windows: NDArray[np.float32] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Like `run`, and also the embedding of the same run."""
        values, embedding = self.run_outputs(views, (output, EMBEDDING), windows)
        return values, embedding

    def run_outputs(
        self, views: NDArray[np.uint8], outputs: Outputs, windows: NDArray[np.float32] | None
    ) -> list[NDArray[np.float32]]:
        """Like `run`, with several outputs of one run."""
        return self._thread.submit(self._run, views, outputs, windows).result()

    def _run(
        self, views: NDArray[np.uint8], outputs: Outputs, windows: NDArray[np.float32] | None
    ) -> list[NDArray[np.float32]]:
        if self._takes_windows and windows is None:
            windows = WHOLE_VIEW  # the graph wants windows in every run
        if self._channels and EMBEDDING not in outputs:
            # One graph serves both. The embedding costs next to nothing.
            return self._run(views, (*outputs, EMBEDDING), windows)[: len(outputs)]
        results: list[list[NDArray[np.float32]]] = []
        sizes = buckets(*views.shape[1:3])
        for start in range(0, len(views), sizes[-1]):
            chunk = views[start : start + sizes[-1]]
            shape = (bucket(len(chunk), sizes), *chunk.shape[1:])
            key = (shape, outputs, None if windows is None else len(windows))
            if key in self._bindings:
                self._bindings.move_to_end(key)
                with GATE.running():
                    results.append(self._run_bound(self._bindings[key], chunk, windows))
            elif self._sealed:
                with GATE.running():
                    results.append(self._run_plainly(chunk, outputs, windows))
            else:
                with GATE.recording():
                    made = self._bind(*key)
                    results.append(self._run_bound(made, chunk, windows))
                # Only now: a recording that failed may not be repeated beside other runs.
                self._bindings[key] = made
                if len(self._bindings) > MAX_BINDINGS:
                    self._bindings.popitem(last=False)
        return [np.concatenate(parts) for parts in zip(*results, strict=True)]

    def _run_bound(
        self, binding: _Binding, views: NDArray[np.uint8], windows: NDArray[np.float32] | None
    ) -> list[NDArray[np.float32]]:
        fill(binding.staged, views)
        binding.images.update_inplace(binding.staged)
        if windows is not None:
            binding.windows.update_inplace(windows)
        self._session.run_with_iobinding(binding.io, binding.options)
        return [result.numpy()[: len(views)].copy() for result in binding.results]

    def _run_plainly(
        self, views: NDArray[np.uint8], outputs: Outputs, windows: NDArray[np.float32] | None
    ) -> list[NDArray[np.float32]]:
        """Without padding, fixed buffers and a recorded graph."""
        io = self._session.io_binding()
        io.bind_cpu_input("images", np.ascontiguousarray(views))
        if windows is not None:
            io.bind_cpu_input("windows", windows)
        for output in outputs:
            io.bind_output(output, self._device)
        self._session.run_with_iobinding(io, self._options(NO_GRAPH))
        return [np.asarray(one) for one in io.copy_outputs_to_cpu()]

    def _bind(self, shape: tuple[int, ...], outputs: Outputs, number: int | None) -> _Binding:
        """Buffers for images of this shape and for `number` windows."""
        io = self._session.io_binding()
        images = self._buffer(shape, np.uint8)
        io.bind_ortvalue_input("images", images)
        given = None
        if number is not None:
            given = self._buffer((number, 4), np.float32)
            io.bind_ortvalue_input("windows", given)
        results: list[Any] = []
        for output in outputs:
            results.append(self._buffer(self._result_shape(shape, output, number), np.float32))
            io.bind_ortvalue_output(output, results[-1])
        make = cuda_runtime.host_buffer if self._device != "cpu" else np.empty
        staged = make(shape, np.uint8)
        options = self._options(self._graph_id())
        return _Binding(io, staged, images, given, tuple(results), options)

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
        if output == EMBEDDING:
            return [shape[0], self._channels]
        if output == "window_logits" and windows is not None:
            return [shape[0], windows, self._classes]
        size = shape[1:3]
        if size not in self._map_cells:
            self._map_cells[size] = self._cells_of(shape)
        return [shape[0], self._classes, *self._map_cells[size]]

    def _cells_of(self, shape: tuple[int, ...]) -> list[int]:
        """Height and width of the class map, found by a run: networks differ at their borders."""
        io = self._session.io_binding()
        images = self._buffer(shape, np.uint8)
        images.update_inplace(np.zeros(shape, np.uint8))
        io.bind_ortvalue_input("images", images)
        io.bind_output("class_map", self._device)
        self._session.run_with_iobinding(io, self._options(NO_GRAPH))
        (class_map,) = io.get_outputs()
        return list(class_map.shape()[2:])
