"""Open a graph on a provider, as strictly as the provider can."""

# pyright: basic, reportMissingTypeStubs=false
# (onnxruntime has no type stubs)

import logging
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import onnxruntime as ort

from service.errors import ModelPackageError, UsageError
from service.inference.runtime import providers
from service.inference.runtime.providers import Chosen
from service.inference.runtime.recording import GATE
from service.inference.runtime.split_graph import OpenGraph

logger = logging.getLogger("quincunx.session")


class OpenedGraph(NamedTuple):
    """A session, how to open another one like it, and whether it may record CUDA graphs."""

    session: ort.InferenceSession
    open_graph: OpenGraph
    graphs: bool


def open_on(chosen: Chosen, data: bytes, path: Path, threads: int, *, tf32: bool) -> OpenedGraph:
    """Open the graph `data`; `path` is for messages.

    On a GPU all nodes should run there, and CUDA graphs are recorded. ONNX Runtime runs the nodes
    that compute shapes on the CPU. A graph that has such nodes, as one that reads windows does, is
    opened without CUDA graphs, and a warning says so.

    Raises:
        UsageError: the provider cannot open the graph.
        ModelPackageError: the same, on a CPU.
    """
    try:
        return _open(chosen, data, path, threads, tf32=tf32, strictly=True)
    except UsageError as error:
        if chosen == "cpu":
            raise
        try:
            opened = _open(chosen, data, path, threads, tf32=tf32, strictly=False)
        except UsageError:
            raise error from None
        logger.warning(
            "%s: some nodes run on the CPU, so no CUDA graphs are recorded and batches take "
            "longer: %s",
            path,
            error,
        )
        return opened


def _open(
    chosen: Chosen, data: bytes, path: Path, threads: int, *, tf32: bool, strictly: bool
) -> OpenedGraph:
    options = providers.session_options(chosen, threads, cpu_nodes=not strictly)
    wanted = providers.settings(chosen, tf32=tf32, graphs=strictly)
    open_graph = partial(_checked, path=path, chosen=chosen, options=options, wanted=wanted)
    return OpenedGraph(open_graph(data), open_graph, strictly and chosen == "cuda")


def _checked(
    data: bytes,
    path: Path,
    chosen: Chosen,
    options: ort.SessionOptions,
    wanted: list[tuple[str, dict[str, Any]]],
) -> ort.InferenceSession:
    try:
        with GATE.running():  # opening a graph allocates memory of the GPU
            session = opened(data, options, wanted)
    except Exception as error:  # the runtime's own exceptions have no common base
        reason = " ".join(str(error).split())
        if chosen != "cpu":  # a graph, or a driver or library that is missing
            raise UsageError(
                f"provider {chosen} cannot open {path}: {reason} (it needs the libraries of "
                "'quincunx[cuda]' and a driver for them; provider cpu runs everywhere)"
            ) from error
        raise ModelPackageError(f"{path} cannot be loaded: {reason}") from error
    got, asked = session.get_providers()[0], wanted[0][0]
    if got != asked:
        raise UsageError(f"{chosen} was asked for, but ONNX Runtime fell back to {got}")
    return session


def opened(
    graph: bytes, options: ort.SessionOptions, wanted: list[tuple[str, dict[str, Any]]]
) -> ort.InferenceSession:
    """A session of exactly these settings."""
    # Without enable_fallback=0 ONNX Runtime prints to stdout and opens the graph on the CPU.
    session = ort.InferenceSession(graph, options, providers=wanted, enable_fallback=0)
    session._model_bytes = None  # kept for another try on the CPU; as large as the weights
    return session
