"""Random numbers that depend only on (seed, epoch), so that a resumed run draws the same ones.

If several processes train together, each draws its own numbers, so that augmentations differ. The
order of the images is the same in all processes, because each takes its share of it.
"""

import random
from typing import Any

import numpy as np
import torch


def seed_all(seed: int, epoch: int, process: int = 0) -> None:
    """Seed Python, NumPy and torch for one epoch."""
    own = f"{seed}/{epoch}/{process}" if process else f"{seed}/{epoch}"
    mixed = random.Random(own).getrandbits(32)
    random.seed(mixed)
    np.random.seed(mixed)
    torch.manual_seed(mixed)


def seed_loaders(loaders: Any, seed: int, epoch: int) -> None:
    """Seed the order in which DataLoaders draw their items in one epoch."""
    for loader in loaders:
        loader.rng = random.Random(f"{seed}/{epoch}")
