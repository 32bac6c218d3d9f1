"""Random numbers that depend on (seed, epoch) alone, so that a resumed run draws the same ones."""

import random
from typing import Any

import numpy as np
import torch


def seed_all(seed: int, epoch: int) -> None:
    """Seed Python, NumPy and torch for one epoch."""
    mixed = random.Random(f"{seed}/{epoch}").getrandbits(32)
    random.seed(mixed)
    np.random.seed(mixed)
    torch.manual_seed(mixed)


def seed_loaders(loaders: Any, seed: int, epoch: int) -> None:
    """Seed the order in which DataLoaders draw their items in one epoch."""
    for loader in loaders:
        loader.rng = random.Random(f"{seed}/{epoch}")
