"""Return freed memory to the system."""

import ctypes


def give_back_memory() -> None:
    """Return freed memory to the system if the C library keeps it (glibc).

    The library keeps freed memory for later use. After a reload that would be one or two models.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
