"""Execution providers: the choice of one, and the options of each."""

# pyright: basic, reportMissingTypeStubs=false
# (onnxruntime has no type stubs)

import os
import sys
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import onnxruntime as ort

from service.errors import UsageError
from service.inference.runtime.cores import usable_cores

Provider = Literal["auto", "cpu", "cuda", "tensorrt"]
Chosen = Literal["cpu", "cuda", "tensorrt"]

NAMES: dict[Chosen, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
ERRORS_ONLY = 3


def versions() -> str:
    """The versions of the libraries that make and run graphs."""
    return f"onnxruntime {ort.__version__}, onnx {version('onnx')}"


def choose(wanted: Provider) -> Chosen:
    """`auto` is CUDA where there is a GPU that ONNX Runtime can use, else the CPU.

    Raises:
        UsageError: a provider was named that is not available here.
    """
    available = ort.get_available_providers()
    gpu = has_gpu()
    if wanted == "auto":
        return "cuda" if gpu and NAMES["cuda"] in available else "cpu"
    if NAMES[wanted] not in available:
        raise UsageError(
            f"provider {wanted} is not available; this onnxruntime has: {', '.join(available)}"
        )
    if wanted != "cpu" and not gpu and sys.platform == "linux":
        raise UsageError(
            f"provider {wanted} was asked for, but there is no NVIDIA GPU that this process can "
            "see (/dev/nvidia*, CUDA_VISIBLE_DEVICES); cpu runs everywhere"
        )
    return wanted


def has_gpu() -> bool:
    """Look for the driver's devices: onnxruntime-gpu names CUDA as available on any machine.

    A container may see `/dev/nvidia3` alone; under Windows' Linux the device is `/dev/dxg`.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return False
    devices = (*Path("/dev").glob("nvidia[0-9]*"), *Path("/proc/driver/nvidia/gpus").glob("*"))
    return bool(devices) or Path("/dev/dxg").exists()


def settings(chosen: Chosen, engine_cache: Path | None = None) -> list[tuple[str, dict[str, Any]]]:
    """The provider list of a session.

    CUDA: cuDNN's exhaustive search, the default, costs more than half a second for every new shape
    and finds nothing that the heuristic misses; channels-last is how the tensor cores want it; one
    CUDA graph per batch bucket saves a launch per node. TensorRT keeps its engines in
    `engine_cache`, since building one takes minutes.
    """
    cuda = {
        "cudnn_conv_algo_search": "HEURISTIC",
        "prefer_nhwc": "1",
        "enable_cuda_graph": "1",
        "use_tf32": "0",
    }
    if chosen == "cpu":
        return [(NAMES["cpu"], {})]
    if chosen == "cuda":
        return [(NAMES["cuda"], cuda)]
    tensorrt: dict[str, Any] = {"trt_fp16_enable": True, "trt_cuda_graph_enable": True}
    if engine_cache is not None:
        tensorrt |= {
            "trt_engine_cache_enable": True,
            "trt_engine_cache_path": str(engine_cache),
            "trt_timing_cache_enable": True,
        }
    return [(NAMES["tensorrt"], tensorrt), (NAMES["cuda"], cuda | {"enable_cuda_graph": "0"})]


def session_options(chosen: Chosen, threads: int) -> ort.SessionOptions:
    """Options of a session: `threads` 0 means one per core that this process may use.

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
        # A node that would fall back to the CPU is an error: the user asked for a GPU.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        with redirect_stdout(sys.stderr):  # it prints the names of missing libraries
            ort.preload_dlls()
    return options
