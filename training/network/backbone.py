"""Networks of timm and torchvision, built without their pretrained weights.

The last layer is a new one for the classes of the data. Nothing is downloaded.
"""

from functools import lru_cache
from importlib import import_module
from typing import Any

import torch
from torch import nn

from service.errors import UsageError

LIBRARIES = ("timm", "torchvision")


def reader(source: str) -> tuple[Any, str]:
    """The module of `training.imports.sources` for ``timm:NAME``, and NAME.

    Raises:
        UsageError: another source, or one that cannot be trained.
    """
    library, _, name = source.partition(":")
    if library not in LIBRARIES or not name:
        raise UsageError(f"--backbone {source}: it is timm:NAME or torchvision:NAME")
    found = import_module(f"training.imports.sources.{library}_model")
    if name.partition(".")[0] in getattr(found, "AUXILIARY", ()):
        raise UsageError(
            f"--backbone {source} has additional classifiers for training; only networks with one "
            "classifier can be trained"
        )
    return found, name


def build(source: str, classes: int) -> nn.Module:
    """The network `source` with random weights: float32[N, 3, H, W] -> logits float32[N, classes].

    Raises:
        UsageError: no such network, or its library is not installed.
    """
    found, name = reader(source)
    return found.build(name, classes)


@lru_cache(maxsize=4)
def head_names(source: str) -> frozenset[str]:
    """The weights of the last layer: those whose shape follows from the number of classes."""
    from training.imports.sources import weights

    with torch.random.fork_rng():
        return frozenset(weights.head_names(build(source, weights.PROBE_CLASSES)))
