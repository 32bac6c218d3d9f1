"""Training in several processes: a launcher starts them, accelerate joins them, fastai trains.

    accelerate launch --multi_gpu --num_processes 2 -m service.cli train DATA …   GPUs, machines
    torchrun --nproc-per-node 2 -m -- service.cli train DATA …                    the same; CPUs too

Every process trains its own share of each batch. Gradients are averaged, so all processes keep
equal weights. Only process 0 reads checkpoints, checks the images and writes. It sends what it read
to the others. The images must be at the same path on every machine.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib.util import find_spec
from typing import Any, TypeVar

import fastai.distributed as fastai_distributed  # adds `distrib_ctx` to Learner
import torch
from fastai.torch_core import num_distrib, rank_distrib

from service.errors import QuincunxError, UsageError

PATIENCE = timedelta(hours=2)
"""How long processes wait for each other: process 0 decodes every image before the first epoch."""

T = TypeVar("T")


def processes() -> int:
    """How many processes train together; 1 without a launcher."""
    return max(1, num_distrib())


def process() -> int:
    """The number of this process, counted from 0."""
    return rank_distrib()


def is_main() -> bool:
    """Whether this process writes files and messages for all."""
    return process() == 0


def share_of_batch(batch_images: int) -> int:
    """The number of images of a batch for each process.

    Raises:
        UsageError: the batch cannot be divided evenly, or a process gets fewer than the 2 images
            that batch normalization needs.
    """
    count = processes()
    if batch_images % count or batch_images < 2 * count:
        raise UsageError(
            f"batch_images ({batch_images}) is the batch of all {count} processes together: it "
            f"must be a multiple of {count}, at least {2 * count} (--set batch_images=…)"
        )
    return batch_images // count


@contextmanager
def joined() -> Iterator[None]:
    """Join the processes that were launched together; leave them when training is done.

    Raises:
        QuincunxError: there are several and accelerate is not installed.
    """
    if processes() == 1:
        yield
        return
    if find_spec("accelerate") is None:
        raise QuincunxError(
            "training in several processes needs accelerate: pip install 'quincunx[distributed]'"
        )
    from accelerate import PartialState

    state = PartialState(cpu=not torch.cuda.is_available(), timeout=PATIENCE)
    yield
    state.wait_for_everyone()
    state.destroy_process_group()


def from_main(make: Callable[[], T]) -> T:
    """Call `make` in process 0 only. Every process returns its result or raises its error."""
    if processes() == 1:
        return make()
    from accelerate.utils import broadcast_object_list

    made: list[Any] = [None, None]
    if is_main():
        try:
            made = [make(), None]
        except QuincunxError as error:
            made = [None, error]
    broadcast_object_list(made)
    if made[1] is not None:
        raise made[1]
    return made[0]


@contextmanager
def spread(learn: Any) -> Iterator[None]:
    """Train `learn` in all processes at once; batches are normalized over all of them on GPUs."""
    if processes() == 1:
        yield
        return
    on_gpu = torch.cuda.is_available()
    if not on_gpu:
        setattr(fastai_distributed.DistributedDL, "_broadcast", _broadcast)  # noqa: B010
    with learn.distrib_ctx(sync_bn=on_gpu, cpu=not on_gpu):
        yield


def _broadcast(_: Any, values: list[int], sender: int) -> list[int]:
    """fastai's own function sends through a GPU, even if there is none."""
    tensor = torch.tensor(values)
    torch.distributed.broadcast(tensor, sender)
    return tensor.tolist()
