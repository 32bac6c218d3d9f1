"""How many processes `quincunx serve --workers auto` starts, and why."""

from typing import NamedTuple

GPU_BYTES, GPU_BYTES_PER_MODEL = 2**29, 2**31
"""Memory of a GPU that a worker takes: for CUDA, and for each model. 1.3 GB was measured for one
model with few shapes; all common shapes are recorded now."""
GPU_SHARE = 0.9
"""The share of the GPU's free memory that workers may take."""
HOST_BYTES = 2**30
"""Memory of the machine for one worker."""


class WorkerCount(NamedTuple):
    """The number of workers, and the reason for it."""

    number: int
    reason: str


def count_workers(
    *, gpu: bool, cores: int, memory_bytes: int, gpu_free_bytes: int | None = None, models: int = 1
) -> WorkerCount:
    """The workers that feed the network best.

    `gpu_free_bytes` None: it is not known how much memory the GPU has, and one worker is certain
    to fit.
    """
    if not gpu:
        return WorkerCount(
            1,
            f"on a CPU one process is as fast as several: it decodes and runs batches on {cores} "
            "threads, one for each core (at least two)",
        )
    if gpu_free_bytes is None:
        return WorkerCount(1, "the free memory of the GPU is not known (libnvidia-ml.so.1)")
    one_bytes = GPU_BYTES + models * GPU_BYTES_PER_MODEL
    limits = (
        (
            cores,  # with a graph that answers at once, half as many take in less: docs/performance
            f"the GPU waits for the cores: one process for each of {cores}",
        ),
        (
            int(GPU_SHARE * gpu_free_bytes) // one_bytes,
            f"the GPU has {gpu_free_bytes / 2**30:.1f} GiB free, and a process takes about "
            f"{one_bytes / 2**30:.1f}",
        ),
        (
            memory_bytes // HOST_BYTES,
            f"the machine has {memory_bytes / 2**30:.1f} GiB of memory, and a process takes about "
            f"{HOST_BYTES / 2**30:.0f}",
        ),
    )
    number, reason = min(limits, key=lambda limit: limit[0])
    return WorkerCount(max(1, number), reason)
