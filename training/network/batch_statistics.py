"""Measure the statistics of batch normalization again, without training.

During training a layer keeps a running mean over earlier weights and over augmented crops of every
size. Measured again, the statistics fit the weights that are served (Wu and Johnson, "Rethinking
Batch in BatchNorm", arXiv:2105.07576) and the views that are served (Touvron et al., "Fixing the
train-test resolution discrepancy", arXiv:1906.06423).
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
    """Set every layer's statistics to the mean over `total` batches, float32[N, 3, H, W].

    All other layers work as in serving: dropout and stochastic depth would change the statistics.
    Returns the number of images.
    """
    network.eval()
    for layer in network.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.reset_running_stats()
            layer.momentum = None  # a cumulative mean
            layer.train()
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
    """Batches of crops as `five_crop` cuts them, one crop of each of about `images` items.

    Also returns the number of batches. All batches are equally large, so each counts the same. With
    fewer items than one batch holds, all items are one batch.
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
