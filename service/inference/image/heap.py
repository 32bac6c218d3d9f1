"""Keep freed memory in the process, so that the next image finds it.

Pixels come and go with every image. By default glibc gives memory of their size back to the system
when they are freed, in a process's main thread at once. The system must then clear every page
again for the next image: a quarter of the time of a 500×375 JPEG.
"""

import ctypes
import os
import platform

MMAP_THRESHOLD = 32 * 1024 * 1024
"""Bytes from which an allocation is mapped on its own and given back when it is freed. glibc's own
largest value, which it also reaches by itself in time."""
TRIM_THRESHOLD = 2 * MMAP_THRESHOLD
"""Free bytes at the end of the heap from which they are given back."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_OF_THE_USER = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_")


def keep_freed_memory() -> bool:
    """Set both thresholds of glibc's allocator; whether they were set.

    They are left alone where the environment has settings of its own for the allocator, and with
    another C library.
    """
    tuned = "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", "")
    if tuned or any(name in os.environ for name in _OF_THE_USER):
        return False
    if platform.libc_ver()[0] != "glibc":
        return False
    set_option = ctypes.CDLL(None).mallopt
    return bool(
        set_option(_M_MMAP_THRESHOLD, MMAP_THRESHOLD)
        and set_option(_M_TRIM_THRESHOLD, TRIM_THRESHOLD)
    )
