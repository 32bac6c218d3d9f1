"""One ONNX graph, open and ready: uint8 views in, logits or class maps out."""

# pyright: basic, reportMissingTypeStubs=false
# (onnxruntime has no type stubs)

from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from service.errors import InferenceFailed, ModelPackageError, UsageError

Provider = Literal["auto", "cpu", "cuda", "tensorrt"]
Output = Literal["logits", "class_map"]

PROVIDERS: dict[str, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
ERRORS_ONLY = 3


def choose_provider(wanted: Provider) -> Literal["cpu", "cuda", "tensorrt"]:
    """`auto` is CUDA where ONNX Runtime can use one, else the CPU.

    Raises:
        UsageError: a provider was named that is not available here.
    """
    available = ort.get_available_providers()
    if wanted == "auto":
        return "cuda" if _has_gpu() and PROVIDERS["cuda"] in available else "cpu"
    if PROVIDERS[wanted] not in available:
        raise UsageError(
            f"provider {wanted} is not available; this onnxruntime has: {', '.join(available)}"
        )
    return wanted


def _has_gpu() -> bool:
    """Look for the driver: onnxruntime-gpu names CUDA as available on any machine."""
    return Path("/dev/nvidia0").exists() or Path("/proc/driver/nvidia/gpus").exists()


class Session:
    """One ONNX graph on one provider; `run` may be called from several threads."""

    def __init__(self, session: ort.InferenceSession, provider: str, path: Path) -> None:
        self._session = session
        self.provider = provider
        self.path = path
        self._run_options = ort.RunOptions()
        # The graph has two outputs and a caller wants one: skip the other's nodes.
        self._run_options.only_execute_path_to_fetches = True

    @classmethod
    def open(cls, path: Path, *, provider: Provider = "auto", threads: int = 0) -> "Session":
        """Load the graph at `path`; `threads` 0 means one per core.

        Raises:
            UsageError: the provider is not available.
            ModelPackageError: ONNX Runtime cannot load the graph, or it has another signature.
        """
        chosen = choose_provider(provider)
        options = ort.SessionOptions()
        options.log_severity_level = ERRORS_ONLY
        options.intra_op_num_threads = threads
        # A pool that spins between requests takes the cores that decode the next image.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = ort.InferenceSession(path, options, providers=[PROVIDERS[chosen]])
        except Exception as error:  # the runtime's own exceptions have no common base
            raise ModelPackageError(f"{path} cannot be loaded: {error}") from error
        if session.get_providers()[0] != PROVIDERS[chosen]:
            got = session.get_providers()[0]
            raise UsageError(f"{chosen} was asked for, but ONNX Runtime fell back to {got}")
        _check_signature(session, path)
        return cls(session, chosen, path)

    def run(self, views: NDArray[np.uint8], output: Output) -> NDArray[np.float32]:
        """uint8[N, H, W, 3] -> logits float32[N, K], or class_map float32[N, K, h, w].

        Raises:
            InferenceFailed: the runtime failed.
        """
        feeds: dict[str, Any] = {"images": np.ascontiguousarray(views)}
        try:
            result = self._session.run([output], feeds, self._run_options)
        except Exception as error:  # the runtime's own exceptions have no common base
            raise InferenceFailed(f"{self.path.name} failed on {views.shape}: {error}") from error
        return np.asarray(result[0])


def _check_signature(session: ort.InferenceSession, path: Path) -> None:
    inputs = {i.name: i.type for i in session.get_inputs()}
    outputs = {o.name for o in session.get_outputs()}
    if inputs != {"images": "tensor(uint8)"} or not {"logits", "class_map"} <= outputs:
        raise ModelPackageError(
            f"{path} must take images: uint8[N, H, W, 3] and give logits and class_map, "
            f"but takes {inputs} and gives {sorted(outputs)}"
        )
