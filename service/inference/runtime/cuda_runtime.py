"""Calls to the CUDA runtime that ONNX Runtime does not make: how to wait, and pinned memory.

All of them only save time. If the runtime cannot be loaded, or a call fails, inference runs without
them.
"""

import ctypes
import logging
import weakref
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from service.inference.runtime import cuda

BLOCKING_SYNC = 0x04
"""`cudaDeviceScheduleBlockingSync`: a thread that waits for the GPU sleeps instead of spinning."""

logger = logging.getLogger("quincunx.session")


@cache
def runtime() -> Any:
    """The CUDA runtime (libcudart), or None."""
    try:
        return ctypes.CDLL(cuda.RUNTIME)
    except OSError:
        return None


def wait_without_spinning() -> bool:
    """Let threads sleep while they wait for the GPU. Call it before the first session is opened.

    Returns whether the runtime accepted it.
    """
    library = runtime()
    code = library.cudaSetDeviceFlags(ctypes.c_uint(BLOCKING_SYNC)) if library else -1
    if code:
        logger.info("threads spin while they wait for the GPU (code %s)", code)
    return not code


def host_buffer(shape: Sequence[int], kind: DTypeLike) -> NDArray[Any]:
    """Pinned memory of the host, which the GPU reads directly; plain memory without the runtime."""
    buffer = np.empty(shape, kind)
    library = runtime()
    if library and buffer.nbytes:
        address = ctypes.c_void_p(buffer.ctypes.data)
        if not library.cudaHostRegister(address, ctypes.c_size_t(buffer.nbytes), ctypes.c_uint(0)):
            weakref.finalize(buffer, library.cudaHostUnregister, address)
    return buffer
