"""Batch normalization's statistics, measured anew with nothing learned.

What a layer keeps while it trains is a running mean over weights that are gone and over augmented
crops of every size. Measured again, they belong to the weights that are served (Wu and Johnson,
"Rethinking Batch in BatchNorm", arXiv:2105.07576) and to the views that are served (Touvron et
al., "Fixing the train-test resolution discrepancy", arXiv:1906.06423).
"""

import random
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import nn

from service.package.manifest import InputSize, Normalization
from training.data.dataset import Item
from training.data.samples import sample, views
from training.run.progress import progress_bar

BATCH_IMAGES = 64


def remeasure(network: nn.Module, batches: Iterable[torch.Tensor], total: int) -> int:
    """Set every layer's statistics to a plain mean over `total` batches float32[N, 3, H, W].

    Returns how many images that were.
    """
    for layer in network.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.reset_running_stats()
            layer.momentum = None  # a cumulative mean
    network.train()
    images = 0
    with torch.no_grad(), progress_bar() as bar:
        task = bar.add_task("statistics", total=total, loss="")
        for batch in batches:
            network(batch)
            images += len(batch)
            bar.update(task, advance=1)
    return images


def served_batches(
    items: Sequence[Item], sizes: InputSize, normalization: Normalization, images: int, seed: int
) -> tuple[Iterator[torch.Tensor], int]:
    """Batches of crops as `five_crop` cuts them, one of each of about `images` items; how many.

    Every batch is full, so that each counts the same: fewer items than one batch are that batch.
    """
    some = sample(items, images, seed)
    size = min(BATCH_IMAGES, len(some))
    total = len(some) // size
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (normalization.mean, normalization.std))
    picks = random.Random(seed)

    def batches() -> Iterator[torch.Tensor]:
        for start in range(0, total * size, size):
            crops = [
                picks.choice(list(views(item, sizes, ("five_crop",))))
                for item in some[start : start + size]
            ]
            pixels = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)
            yield (pixels.float() / 255 - mean) / std

    return batches(), total
