"""How many cores this process may use. A container may have fewer than the machine."""

import math
import os
from pathlib import Path

CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
"""The quota of a container (cgroup v2): microseconds of processor time or `max`, and the period."""


def usable_cores(cpu_max: Path = CPU_MAX) -> int:
    """Cores in the affinity mask of this process, or the container's quota, rounded up."""
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # only Linux has it
        allowed = os.cpu_count() or 1
    try:
        quota_us, period_us = map(int, cpu_max.read_text(encoding="ascii").split())
    except (OSError, ValueError):  # no cgroup, or no quota
        return allowed
    return max(1, min(allowed, math.ceil(quota_us / period_us)))
