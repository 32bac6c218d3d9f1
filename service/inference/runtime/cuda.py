"""Look for what ONNX Runtime needs to run on an NVIDIA GPU, and name what is missing."""

# pyright: basic, reportMissingTypeStubs=false
# (onnxruntime has no type stubs)

import contextlib
import ctypes
import io
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime as ort

PROVIDER = "CUDAExecutionProvider"
MAJOR = str(getattr(ort, "cuda_version", "") or "13").partition(".")[0]
"""The major version of CUDA that ONNX Runtime was built for; "13" if it was built without CUDA."""
DRIVER = "libcuda.so.1"
CUDNN = "libcudnn.so.9"
RUNTIME = f"libcudart.so.{MAJOR}"
LIBRARIES = (RUNTIME, f"libcublasLt.so.{MAJOR}", f"libcublas.so.{MAJOR}", "libcurand.so.10", CUDNN)
"""The libraries that the CUDA provider loads, in addition to the driver."""
INSTALL = "pip install 'quincunx[cuda]'"
NAME_BYTES = 96

Load = Callable[[str], Any]


@dataclass(frozen=True)
class Cuda:
    """What was found."""

    missing: tuple[str, ...] = ()
    """The libraries and devices that are missing; empty: the GPU can be used."""
    driver_cuda: str | None = None
    """The newest version of CUDA that the driver supports."""
    cudnn: str | None = None
    devices: tuple[str, ...] = ()
    """The name and the memory of each GPU that this process can see."""

    @property
    def usable(self) -> bool:
        return not self.missing

    @property
    def why_not(self) -> str:
        """One line that names what is missing."""
        libraries = any(name in self.missing for name in LIBRARIES)
        return "missing: " + ", ".join(self.missing) + (f" ({INSTALL})" if libraries else "")


def has_gpu() -> bool:
    """Look for the driver's devices: onnxruntime-gpu names CUDA as available on any machine.

    A container may see `/dev/nvidia3` alone; under Windows' Linux the device is `/dev/dxg`.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return False
    devices = (*Path("/dev").glob("nvidia[0-9]*"), *Path("/proc/driver/nvidia/gpus").glob("*"))
    return bool(devices) or Path("/dev/dxg").exists()


def look(load: Load = ctypes.CDLL) -> Cuda:
    """Load the driver and the libraries of CUDA, and ask the driver for its GPUs."""
    if PROVIDER not in ort.get_available_providers():
        return Cuda(("an onnxruntime that is built with CUDA (onnxruntime-gpu)",))
    if sys.platform != "linux":
        return Cuda()  # opening a graph tells
    if not has_gpu():
        return Cuda(
            ("an NVIDIA GPU that this process can see (/dev/nvidia*, CUDA_VISIBLE_DEVICES)",)
        )
    preload()
    driver, libraries = _loaded(DRIVER, load), {name: _loaded(name, load) for name in LIBRARIES}
    missing = [name for name, library in libraries.items() if library is None]
    supported, devices = None, ()
    if driver is None:
        missing.insert(0, f"the NVIDIA driver ({DRIVER})")
    else:
        supported, devices, problem = _ask(driver)
        if problem:
            missing.insert(0, problem)
    return Cuda(tuple(missing), supported, _cudnn_version(libraries[CUDNN]), devices)


def preload() -> None:
    """Load the libraries that pip installed. ONNX Runtime prints what it does not find."""
    with contextlib.redirect_stdout(io.StringIO()):  # `look` names it
        ort.preload_dlls()


def _loaded(name: str, load: Load) -> Any:
    try:
        return load(name)
    except OSError:
        return None


def _ask(driver: Any) -> tuple[str | None, tuple[str, ...], str]:
    """The version of CUDA that a driver supports, its GPUs, and why it cannot be used."""
    if code := driver.cuInit(0):
        return None, (), f"a working NVIDIA driver (cuInit fails with code {code})"
    number = ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(number))
    supported = f"{number.value // 1000}.{number.value % 1000 // 10}"
    driver.cuDeviceGetCount(ctypes.byref(number))
    devices = tuple(_device(driver, index) for index in range(number.value))
    problem = ""
    if int(supported.partition(".")[0]) < int(MAJOR):
        problem = f"an NVIDIA driver for CUDA {MAJOR} (this one supports CUDA {supported})"
    elif not devices:
        problem = "an NVIDIA GPU (the driver finds none)"
    return supported, devices, problem


def _device(driver: Any, index: int) -> str:
    handle, total = ctypes.c_int(), ctypes.c_size_t()
    name = ctypes.create_string_buffer(NAME_BYTES)
    driver.cuDeviceGet(ctypes.byref(handle), index)
    driver.cuDeviceGetName(name, NAME_BYTES, handle)
    driver.cuDeviceTotalMem_v2(ctypes.byref(total), handle)
    return f"{name.value.decode(errors='replace')}, {total.value / 2**30:.0f} GiB"


def _cudnn_version(library: Any) -> str | None:
    if library is None:
        return None
    library.cudnnGetVersion.restype = ctypes.c_size_t
    number = int(library.cudnnGetVersion())
    return f"{number // 10000}.{number % 10000 // 100}.{number % 100}"
