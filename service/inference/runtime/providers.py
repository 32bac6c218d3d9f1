"""Execution providers: the choice of one, and the options of each."""

# pyright: basic, reportMissingTypeStubs=false
# (onnxruntime has no type stubs)

import logging
import os
from functools import cache
from importlib.metadata import version
from typing import Any, Literal

import onnxruntime as ort

from service.errors import UsageError
from service.inference.runtime import cuda, cuda_runtime
from service.inference.runtime.cores import usable_cores

Provider = Literal["auto", "cpu", "cuda"]
Chosen = Literal["cpu", "cuda"]

NAMES: dict[Chosen, str] = {"cpu": "CPUExecutionProvider", "cuda": cuda.PROVIDER}
ERRORS_ONLY = 3

logger = logging.getLogger("quincunx.session")


def versions() -> str:
    """The versions of the libraries that make and run graphs."""
    return f"onnxruntime {ort.__version__}, onnx {version('onnx')}"


def device(chosen: Chosen) -> str:
    """The provider, and the GPU and the versions that its arithmetic depends on."""
    if chosen == "cpu":
        return NAMES[chosen]
    found = cuda.look()
    gpu = found.devices[0] if found.devices else "unknown GPU"
    return f"{NAMES[chosen]} on {gpu}, CUDA {found.driver_cuda}, cuDNN {found.cudnn}"


def available() -> tuple[str, ...]:
    """The providers that this onnxruntime is built with; its GPU may be missing."""
    return tuple(ort.get_available_providers())


def choose(wanted: Provider, *, quiet: bool = False) -> Chosen:
    """`auto` is CUDA if there is a GPU that ONNX Runtime can use, and otherwise the CPU.

    If there is a GPU that cannot be used, one warning names what is missing, unless `quiet`.

    Raises:
        UsageError: CUDA was named and cannot be used here; the message names what is missing.
    """
    if wanted == "cpu":
        return "cpu"
    found = cuda.look()
    if found.usable:
        return "cuda"
    if wanted == "cuda":
        raise UsageError(
            f"provider cuda was asked for, but CUDA cannot be used. {found.why_not}. Provider cpu "
            "runs everywhere"
        )
    if not quiet and cuda.has_gpu():
        _warn_once(on_the_cpu(found))
    return "cpu"


def on_the_cpu(found: cuda.Cuda) -> str:
    """The reason why `auto` is the CPU, in one line."""
    return f"inference runs on the CPU: CUDA cannot be used. {found.why_not}"


@cache
def _warn_once(line: str) -> None:
    logger.warning("%s", line)


def settings(
    chosen: Chosen, *, tf32: bool = True, graphs: bool = True
) -> list[tuple[str, dict[str, Any]]]:
    """The provider list of a session. `graphs`: whether it records CUDA graphs.

    CUDA: cuDNN's exhaustive search, the default, costs more than half a second for every new shape
    and finds nothing that the heuristic misses. One CUDA graph for each batch bucket saves a launch
    for each node. `tf32` lets float32 layers round their inputs to 10 bits of mantissa, as fp16
    does. With it channels-last is fastest. Without it cuDNN has no channels-last convolution in
    float32, and prints an error for each.
    """
    if chosen == "cpu":
        return [(NAMES["cpu"], {})]
    options = {
        "cudnn_conv_algo_search": "HEURISTIC",
        "prefer_nhwc": "1" if tf32 else "0",
        "enable_cuda_graph": "1" if graphs else "0",
        "use_tf32": "1" if tf32 else "0",
    }
    return [(NAMES["cuda"], options)]


def session_options(chosen: Chosen, threads: int, *, cpu_nodes: bool = False) -> ort.SessionOptions:
    """Options of a session: `threads` 0 means one per core that this process may use.

    `cpu_nodes`: whether nodes may run on the CPU although a GPU was chosen.

    On a whole machine ONNX Runtime chooses the number, because it then pins each thread to its own
    core. Threads that are not pinned may share one core after a pause. ONNX Runtime does not know
    the quota of a container, so the number is set there.
    https://onnxruntime.ai/docs/performance/tune-performance/threading.html
    """
    options = ort.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    cores = usable_cores()
    options.intra_op_num_threads = threads or (cores if cores < (os.cpu_count() or 1) else 0)
    # Threads that spin between requests would take the cores from the decoding of the next image.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if chosen != "cpu":
        if not cpu_nodes:
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        cuda.preload()
        cuda_runtime.wait_without_spinning()
    return options
