"""Cut a graph in two, so that on a CPU exact crops of one image share its first layers."""

# pyright: basic, reportMissingTypeStubs=false
# (onnxruntime has no type stubs)

from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from service.inference.image.geometry import Box
from service.inference.image.views import Pixels
from service.inference.runtime.shared_crops import Features, Stem
from service.package.manifest import InputSize

if TYPE_CHECKING:
    from service.inference.runtime.cut_point import GraphParts

OpenGraph = Callable[[bytes], ort.InferenceSession]


class SplitGraph:
    """A graph that is cut in two at its first use, for one or more sessions.

    Until then this object holds the whole graph in memory, because its file may change or vanish.
    """

    def __init__(self, graph: bytes, sizes: InputSize, sessions: int) -> None:
        self._graph = graph
        self._sizes = sizes
        self._sessions_left = sessions
        self._lock = Lock()
        self._parts: GraphParts | None = None

    def take_parts(self) -> "GraphParts | None":
        """Both parts; None if crops have nothing to share. Every session calls this once.

        The last call frees the memory.
        """
        # onnx is slow to import, and most processes never need it.
        from service.inference.runtime.cut_point import split

        with self._lock:
            if self._graph:
                self._parts = split(self._graph, self._sizes)
                self._graph = b""
            parts = self._parts
            self._sessions_left -= 1
            if not self._sessions_left:
                self._parts = None
            return parts


class CropSharing:
    """The stem and the trunk of a split graph, opened at their first use for one session.

    The whole graph stays open beside them: a view that shares nothing takes one or two percent
    longer when it passes through two sessions.
    """

    def __init__(self, split_graph: SplitGraph, open_graph: OpenGraph) -> None:
        self._split_graph: SplitGraph | None = split_graph
        self._open_graph = open_graph
        self._lock = Lock()
        self._stem: Stem | None = None
        self._trunk: ort.InferenceSession | None = None
        self._run_options = ort.RunOptions()
        self._run_options.only_execute_path_to_fetches = True
        self._tensor = ""
        """The output of the stem and the input of the trunk."""

    def crops(self, image: Pixels, boxes: Sequence[Box]) -> list[Features] | None:
        """See `Stem.crops`. None also for a graph whose crops have nothing to share."""
        self._open()
        return self._stem.crops(image, boxes) if self._stem else None

    def run(self, features: Features, outputs: Sequence[str]) -> list[NDArray[np.float32]]:
        """[N, C, h, w] of `crops` -> the named outputs, such as logits float32[N, K]."""
        self._open()
        if self._trunk is None:
            raise ValueError("this graph is not split, so it cannot run features")
        found = self._trunk.run(outputs, {self._tensor: features}, self._run_options)
        return [np.asarray(one) for one in found]

    def _open(self) -> None:
        with self._lock:
            if self._split_graph is None:
                return
            parts = self._split_graph.take_parts()
            self._split_graph = None
            if parts is not None:
                stem = self._open_graph(parts.stem)
                self._stem = Stem(partial(_features, stem), parts.receptive_field)
                self._trunk = self._open_graph(parts.trunk)
                self._tensor = parts.tensor


def _features(stem: ort.InferenceSession, views: Pixels) -> Features:
    return np.asarray(stem.run(None, {"images": np.ascontiguousarray(views)})[0])
