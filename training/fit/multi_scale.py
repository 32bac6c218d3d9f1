"""Batches at several sizes, so that the network learns the size of every pass in serving.

TTA's cheap pass, its crops and its large pass have different sizes. A network that was trained at a
single size is good at that size only (Touvron et al., "Fixing the train-test resolution
discrepancy", arXiv:1906.06423).
"""

from typing import Any

import torch
from fastai.callback.core import Callback
from torch.nn import functional

from training.recipe import Recipe


class MultiScale(Callback):
    """Resize each training batch to one of `sizes_px`, drawn uniformly.

    Only sides up to the side of the loaded crops are drawn. So the sizes grow with the crops
    (`grow_at`), and no batch is enlarged.
    """

    learn: Any
    run_valid = False
    order = -10  # before the mixers, so that they mix the resized images

    def __init__(self, sizes_px: tuple[int, ...]) -> None:
        self.sizes_px = sizes_px

    def before_batch(self) -> None:
        self.learn.xb = (at_a_size(self.x, self.sizes_px),)


def at_a_size(images: torch.Tensor, sizes_px: tuple[int, ...]) -> torch.Tensor:
    """Resize float[N, C, S, S] to a random one of `sizes_px` up to S; unchanged if none fits."""
    loaded_px = images.shape[-1]
    allowed = [size_px for size_px in sizes_px if size_px <= loaded_px] or [loaded_px]
    size_px = allowed[int(torch.randint(len(allowed), (1,)))]
    if size_px == loaded_px:
        return images
    return functional.interpolate(images, size=(size_px, size_px), mode="bilinear", antialias=True)


def multi_scale(recipe: Recipe) -> list[Callback]:
    """The callback of a recipe that names several sizes, or none."""
    return [MultiScale(recipe.batch_sizes_px)] if recipe.batch_sizes_px else []
