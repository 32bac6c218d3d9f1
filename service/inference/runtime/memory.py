"""How much memory this process may use, which in a container is less than the machine has."""

import os
from pathlib import Path

MEMORY_MAX = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""A container's limit in bytes, or `max` (cgroup v2, then v1)."""
_UNKNOWN_BYTES = 4 * 1024**3


def usable_bytes(memory_max: tuple[Path, ...] = MEMORY_MAX) -> int:
    """The memory of the machine, or the container's limit where that is less."""
    try:
        least = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on Windows
        least = _UNKNOWN_BYTES
    for path in memory_max:
        try:
            least = min(least, int(path.read_text(encoding="ascii")))
        except (OSError, ValueError):  # no such file, or no limit
            continue
    return least
