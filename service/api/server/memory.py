"""Memory that was freed goes back to the system."""

import ctypes


def give_back_memory() -> None:
    """Return freed memory to the system, where the C library keeps it (glibc).

    The library keeps what threads freed for later use. After a reload that would be a model or two.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
