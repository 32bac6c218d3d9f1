"""Free memory of the GPU, asked of the driver's management library (NVML) without using the GPU."""

import ctypes
from collections.abc import Callable
from typing import Any

from service.inference.runtime import cuda

MANAGEMENT = "libnvidia-ml.so.1"
BUS_ID_BYTES = 32


class _Memory(ctypes.Structure):
    """`nvmlMemory_t`, in bytes."""

    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


def free_bytes(load: Callable[[str], Any] = ctypes.CDLL) -> int | None:
    """Free memory of the first GPU that this process can see; None: it cannot be found out."""
    try:
        driver, management = load(cuda.DRIVER), load(MANAGEMENT)
    except OSError:
        return None
    device, handle, memory = ctypes.c_int(), ctypes.c_void_p(), _Memory()
    bus_id = ctypes.create_string_buffer(BUS_ID_BYTES)
    # CUDA_VISIBLE_DEVICES counts for the driver only: the address on the bus names the same GPU.
    failed = (
        driver.cuInit(0)
        or driver.cuDeviceGet(ctypes.byref(device), 0)
        or driver.cuDeviceGetPCIBusId(bus_id, BUS_ID_BYTES, device)
        or management.nvmlInit_v2()
        or management.nvmlDeviceGetHandleByPciBusId_v2(bus_id, ctypes.byref(handle))
        or management.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
    )
    return None if failed else int(memory.free)
