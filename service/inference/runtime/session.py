"""One ONNX graph, open and ready: uint8 views in; logits, class maps and embeddings out."""

# pyright: basic, reportMissingTypeStubs=false
# (onnxruntime has no type stubs)

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from service.errors import InferenceFailed, ModelPackageError
from service.inference.image.geometry import Box
from service.inference.image.views import Pixels
from service.inference.runtime import providers
from service.inference.runtime.in_turn import RunnersInTurn
from service.inference.runtime.io_binding import WHOLE_VIEW, IoBindingRunner
from service.inference.runtime.opened_graph import open_on
from service.inference.runtime.providers import Chosen, Provider
from service.inference.runtime.shared_crops import Features
from service.inference.runtime.split_graph import CropSharing, SplitGraph
from service.package.graph import EMBEDDING, check_graph
from service.package.manifest import Graph, InputSize

Output = Literal["logits", "class_map", "window_logits", "logits_of_features"]
"""Which output a run computes. `logits_of_features` takes what `Session.crops` returned."""

IN_FLIGHT = 2
"""Batches at once through fixed buffers: one is copied while another is computed."""


class Session:
    """One ONNX graph on one provider; `run` may be called from several threads.

    `Session.open` and `open_sessions` make sessions.
    """

    def __init__(
        self,
        session: ort.InferenceSession,
        provider: Chosen,
        path: Path,
        threads: int,
        *,
        io_binding: RunnersInTurn | None = None,
        crop_sharing: CropSharing | None = None,
    ) -> None:
        self._session = session
        self.provider: Chosen = provider
        self.path = path
        self.threads = threads
        """Threads of one run; 0: one per core."""
        self.bound = io_binding
        """Fixed buffers, on a GPU; None: plain runs."""
        self._crop_sharing = crop_sharing
        self._takes_windows = any(value.name == "windows" for value in session.get_inputs())
        self._run_options = ort.RunOptions()
        # A caller seldom needs every output of the graph, so the nodes of the others are skipped.
        self._run_options.only_execute_path_to_fetches = True

    @classmethod
    def open(
        cls,
        path: Path,
        sizes: InputSize | None = None,
        *,
        provider: Provider = "auto",
        threads: int = 0,
        io_binding: bool | None = None,
        tf32: bool = True,
        data: bytes | None = None,
    ) -> "Session":
        """Load the graph at `path`, with `threads` threads for one run; 0 means one per core.

        For the other parameters and for the errors see `open_sessions`.
        """
        (session,) = open_sessions(
            path, sizes, (threads,),
            provider=provider, io_binding=io_binding, tf32=tf32, data=data,
        )  # fmt: skip
        return session

    def max_concurrent_batches(self, cores: int) -> int:
        """How many runs at once keep `cores` cores busy; on a GPU, one for each set of buffers.

        Several runs with one thread each have a higher throughput than one run with a thread on
        every core, which waits for the slowest thread at every node. A single run takes longer.
        """
        if self.bound is not None:
            return len(self.bound)
        if not self.threads:
            return 1
        return max(1, cores // self.threads)

    def works(self) -> bool:
        """Whether this process can still run the graph, asked after a failure.

        On a CPU one failure says nothing about the next run.
        """
        return self.bound is None or self.bound.works()

    @property
    def shares_crops(self) -> bool:
        """Whether `crops` may return features. If not, it is always None."""
        return self._crop_sharing is not None

    def crops(self, image: Pixels, boxes: Sequence[Box]) -> list[Features] | None:
        """The features of crops of uint8[H, W, 3]: views for the output `logits_of_features`.

        None: nothing would be saved. The caller then cuts the crops and runs each of them whole.

        Raises:
            InferenceFailed: the runtime failed.
        """
        if self._crop_sharing is None:
            return None
        try:
            return self._crop_sharing.crops(image, boxes)
        except Exception as error:  # the runtime's own exceptions have no common base
            raise InferenceFailed(f"{self.path.name} failed on {image.shape}: {error}") from error

    def run(
        self,
        views: Pixels | Features,
        output: Output,
        windows: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """uint8[N, H, W, 3] -> logits float32[N, K], or class_map float32[N, K, h, w].

        `window_logits` gives float32[N, V, K] for `windows` float32[V, 4]: left, top, right and
        bottom as fractions of the view. `logits_of_features` takes [N, C, h, w], N of the features
        that `crops` returned.

        Raises:
            InferenceFailed: the runtime failed.
        """
        return self._run(views, output, windows)[0]

    def run_with_embedding(
        self,
        views: Pixels | Features,
        output: Output,
        windows: NDArray[np.float32] | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Like `run`, and also the embedding float32[N, C] of the same run.

        It is the mean of the last features over all positions of a view, with any windows.

        Raises:
            InferenceFailed: the runtime failed, or the graph has no embedding.
        """
        values, embedding = self._run(views, output, windows, (EMBEDDING,))
        return values, embedding

    def _run(
        self,
        views: Pixels | Features,
        output: Output,
        windows: NDArray[np.float32] | None,
        more: tuple[str, ...] = (),
    ) -> list[NDArray[np.float32]]:
        """The output, and `more` outputs of the same run."""
        try:
            if output == "logits_of_features":
                if self._crop_sharing is None:
                    raise ValueError("this session shares no layers, so it cannot run features")
                return self._crop_sharing.run(views, ("logits", *more))
            if self.bound is not None:
                return self.bound.run_outputs(views, (output, *more), windows)
            if self._takes_windows and windows is None:
                windows = WHOLE_VIEW  # the graph wants windows in every run
            feeds: dict[str, Any] = {"images": np.ascontiguousarray(views)}
            if windows is not None:
                feeds["windows"] = windows
            found = self._session.run([output, *more], feeds, self._run_options)
            return [np.asarray(one) for one in found]
        except Exception as error:  # the runtime's own exceptions have no common base
            raise InferenceFailed(f"{self.path.name} failed on {views.shape}: {error}") from error


def open_sessions(
    path: Path,
    sizes: InputSize | None,
    threads: Sequence[int],
    *,
    provider: Provider = "auto",
    graph: Graph | None = None,
    io_binding: bool | None = None,
    tf32: bool = True,
    data: bytes | None = None,
) -> tuple[Session, ...]:
    """Load one graph several times: one session for each number of threads, 0 means one per core.

    `data` is the content of `path`, if the caller has read and verified it. Then exactly the
    verified bytes run. Without `data` the file is read here.

    `io_binding` runs batches through fixed buffers, padded to buckets, two batches at once: the
    default on a GPU.
    Without it, and where the model's `sizes` are given, crops of one image share their first
    layers, unless `graph` says that the graph takes images of fixed sizes only. `tf32` is used on a
    GPU: see `providers.settings`.

    Raises:
        UsageError: the provider is not available, or a GPU cannot open the graph.
        ModelPackageError: ONNX Runtime cannot load the graph, or it has another signature.
    """
    chosen = providers.choose(provider)
    data = _read(path) if data is None else data
    io_binding = chosen != "cpu" if io_binding is None else io_binding
    split_graph = None
    any_size = graph is None or graph.sizes == "dynamic"
    if sizes is not None and any_size and not io_binding:
        split_graph = SplitGraph(data, sizes, len(threads))
    sessions: list[Session] = []
    for number in threads:
        opened, open_graph, graphs = open_on(chosen, data, path, number, tf32=tf32)
        runners = None
        if io_binding:
            others = [open_graph(data) for _ in range(IN_FLIGHT - 1)]
            runners = RunnersInTurn(
                [
                    IoBindingRunner(one, _classes(one), chosen, graphs=graphs)
                    for one in (opened, *others)
                ]
            )
        sharing = CropSharing(split_graph, open_graph) if split_graph else None
        sessions.append(
            Session(opened, chosen, path, number, io_binding=runners, crop_sharing=sharing)
        )
    return tuple(sessions)


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelPackageError(f"{path} cannot be read: {error.strerror}") from error
    check_graph(data, path)
    return data


def _classes(session: ort.InferenceSession) -> int:
    """K of a graph that `check_graph` has seen."""
    (logits,) = (output for output in session.get_outputs() if output.name == "logits")
    return int(logits.shape[1])
