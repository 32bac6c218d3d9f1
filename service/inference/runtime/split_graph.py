"""A graph cut in two on the CPU, so that exact crops of one image share its first layers."""

# pyright: basic, reportMissingTypeStubs=false
# (onnxruntime has no type stubs)

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from service.inference.image.geometry import Box
from service.inference.image.views import Pixels
from service.inference.runtime.shared_crops import Features, Stem
from service.package.manifest import InputSize

Opens = Callable[[bytes], ort.InferenceSession]


@dataclass(frozen=True)
class _Opened:
    stems: tuple[Stem, ...]
    trunks: tuple[ort.InferenceSession, ...]
    tensor: str


class Halves:
    """The stem and the trunk of a graph, opened when they are first needed.

    The graph is held until then: its file may be another one, or gone.

    Beside the whole graph and not in its place: handing over between two sessions costs a view
    that shares nothing one or two hundredths.
    """

    def __init__(self, graph: bytes, sizes: InputSize, *opens: Opens) -> None:
        """Each of `opens` opens both halves, in its own way."""
        self._graph: bytes | None = graph
        self._sizes = sizes
        self._opens = opens
        self._lock = Lock()
        self._opened: _Opened | None = None

    def crops(self, image: Pixels, boxes: Sequence[Box], way: int = 0) -> list[Features] | None:
        """See `Stem.crops`; None for a graph, too, that has nothing to share.

        `way` is the number of the way that the stem was opened in.
        """
        opened = self._open()
        return opened.stems[way].crops(image, boxes) if opened else None

    def logits(self, features: Features, way: int = 0) -> NDArray[np.float32]:
        """[N, C, h, w] of `crops` -> logits float32[N, K]."""
        opened = self._open()
        if opened is None:
            raise ValueError("a graph that is not cut in two has no features to run")
        return np.asarray(opened.trunks[way].run(["logits"], {opened.tensor: features})[0])

    def _open(self) -> _Opened | None:
        with self._lock:
            if self._graph is not None:
                self._opened = self._cut(self._graph)
                self._graph = None
            return self._opened

    def _cut(self, graph: bytes) -> _Opened | None:
        from service.inference.runtime.cut_point import (
            split,  # onnx is slow to import, and rarely needed
        )

        halves = split(graph, self._sizes)
        if halves is None:
            return None
        stems = tuple(
            Stem(partial(_features, opens(halves.stem)), halves.reach) for opens in self._opens
        )
        trunks = tuple(opens(halves.trunk) for opens in self._opens)
        return _Opened(stems, trunks, halves.tensor)


def _features(stem: ort.InferenceSession, views: Pixels) -> Features:
    return np.asarray(stem.run(None, {"images": np.ascontiguousarray(views)})[0])
