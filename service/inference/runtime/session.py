"""One ONNX graph, open and ready: uint8 views in, logits or class maps out."""

# pyright: basic, reportMissingTypeStubs=false
# (onnxruntime has no type stubs)

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from service.errors import InferenceFailed, ModelPackageError, UsageError
from service.inference.image.geometry import Box
from service.inference.image.views import Pixels
from service.inference.runtime import providers
from service.inference.runtime.io_binding import BoundRunner
from service.inference.runtime.providers import Chosen, Provider
from service.inference.runtime.shared_crops import Features
from service.inference.runtime.split_graph import Halves
from service.package.graph import check_graph
from service.package.manifest import InputSize

Output = Literal["logits", "class_map", "logits_of_features"]
"""What a run gives. The last is for what `Session.crops` made: the stem has run on it already."""


class Session:
    """One ONNX graph on one provider; `run` may be called from several threads."""

    def __init__(
        self,
        session: ort.InferenceSession,
        provider: Chosen,
        path: Path,
        threads: int,
        bound: BoundRunner | None = None,
        halves: Halves | None = None,
        way: int = 0,
        lone: "Session | None" = None,
    ) -> None:
        self._session = session
        self.provider: Chosen = provider
        self.path = path
        self.threads = threads
        """Threads of one run; 0: one per core."""
        self._bound = bound
        self._halves = halves
        self._way = way
        """The number of the way that the halves were opened in for this session."""
        self.lone = lone
        """The same graph with threads for an image that is alone, where those are others."""
        self._run_options = ort.RunOptions()
        # The graph has two outputs and a caller wants one: skip the other's nodes.
        self._run_options.only_execute_path_to_fetches = True

    @classmethod
    def open(
        cls,
        path: Path,
        sizes: InputSize | None = None,
        *,
        provider: Provider = "auto",
        threads: int = 0,
        lone_threads: int | None = None,
        bound: bool | None = None,
        engine_cache: Path | None = None,
        data: bytes | None = None,
    ) -> "Session":
        """Load the graph at `path`; `threads` are those of one run, and 0 means one per core.

        `data` is the content of `path` where a package has read and verified it: what is verified
        is then what runs. Without it the file is read here.

        `bound` runs batches through fixed buffers, padded to buckets: the default on a GPU.
        Elsewhere `crops` shares what crops have in common, where the model's `sizes` are given, and
        `lone_threads` open the graph once more, as `lone`. TensorRT keeps its engines in
        `engine_cache`.

        Raises:
            UsageError: the provider is not available, or a GPU cannot open the graph.
            ModelPackageError: ONNX Runtime cannot load the graph, or it has another signature.
        """
        chosen = providers.choose(provider)
        wanted = providers.settings(chosen, engine_cache)
        data = _read(path) if data is None else data

        def with_threads(number: int) -> Callable[[bytes], ort.InferenceSession]:
            options = providers.session_options(chosen, number)
            return partial(_opened, options=options, wanted=wanted)

        bound = chosen != "cpu" if bound is None else bound
        opens = [with_threads(threads)]
        if lone_threads is not None and not bound:
            opens.append(with_threads(lone_threads))
        try:
            session, *others = [open_with(data) for open_with in opens]
        except Exception as error:  # the runtime's own exceptions have no common base
            reason = " ".join(str(error).split())
            if chosen != "cpu":  # a graph, or a driver or library that is missing
                raise UsageError(
                    f"provider {chosen} cannot open {path}: {reason} (it needs the libraries of "
                    "'quincunx[cuda]' and a driver for them; provider cpu runs everywhere)"
                ) from error
            raise ModelPackageError(f"{path} cannot be loaded: {reason}") from error
        if session.get_providers()[0] != wanted[0][0]:
            got = session.get_providers()[0]
            raise UsageError(f"{chosen} was asked for, but ONNX Runtime fell back to {got}")
        if bound:
            device = "cpu" if chosen == "cpu" else "cuda"
            runner = BoundRunner(session, _classes(session), device, graphs=chosen == "cuda")
            return cls(session, chosen, path, threads, runner)
        halves = Halves(data, sizes, *opens) if sizes is not None else None
        lone = None
        if lone_threads is not None:
            lone = cls(others[0], chosen, path, lone_threads, halves=halves, way=1)
        return cls(session, chosen, path, threads, halves=halves, lone=lone)

    def side_by_side(self, cores: int) -> int:
        """How many runs at once keep `cores` cores busy; a GPU takes one after another.

        Runs of one thread each get more done together than one run with a thread on every core,
        which has to wait for the last of them at every node; a lone run is answered later.
        """
        if self.provider != "cpu" or not self.threads:
            return 1
        return max(1, cores // self.threads)

    def crops(self, image: Pixels, boxes: Sequence[Box]) -> list[Features] | None:
        """What the first layers make of crops of uint8[H, W, 3]: views for `logits_of_features`.

        None where nothing would be saved: cut the crops and run each of them whole.

        Raises:
            InferenceFailed: the runtime failed.
        """
        if self._halves is None:
            return None
        try:
            return self._halves.crops(image, boxes, self._way)
        except Exception as error:  # the runtime's own exceptions have no common base
            raise InferenceFailed(f"{self.path.name} failed on {image.shape}: {error}") from error

    def run(self, views: Pixels | Features, output: Output) -> NDArray[np.float32]:
        """uint8[N, H, W, 3] -> logits float32[N, K], or class_map float32[N, K, h, w].

        `logits_of_features` takes [N, C, h, w], N of what `crops` gave.

        Raises:
            InferenceFailed: the runtime failed.
        """
        try:
            if output == "logits_of_features":
                if self._halves is None:
                    raise ValueError("a session that shares nothing has no features to run")
                return self._halves.logits(views, self._way)
            if self._bound is not None:
                return self._bound.run(views, output)
            feeds: dict[str, Any] = {"images": np.ascontiguousarray(views)}
            return np.asarray(self._session.run([output], feeds, self._run_options)[0])
        except Exception as error:  # the runtime's own exceptions have no common base
            raise InferenceFailed(f"{self.path.name} failed on {views.shape}: {error}") from error


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelPackageError(f"{path} cannot be read: {error.strerror}") from error
    check_graph(data, path)
    return data


def _opened(
    graph: bytes, options: ort.SessionOptions, wanted: list[tuple[str, dict[str, Any]]]
) -> ort.InferenceSession:
    # Without enable_fallback=0 ONNX Runtime prints to stdout and opens the graph on the CPU.
    session = ort.InferenceSession(graph, options, providers=wanted, enable_fallback=0)
    session._model_bytes = None  # kept for another try on the CPU; as large as the weights
    return session


def _classes(session: ort.InferenceSession) -> int:
    """K of a graph that `check_graph` has seen."""
    (logits,) = (output for output in session.get_outputs() if output.name == "logits")
    return int(logits.shape[1])
