"""Build a network from its description: of fastai's xresnet family, or a backbone."""

from dataclasses import replace
from functools import partial
from typing import Any

from fastai.vision.all import Mish
from fastai.vision.models import xresnet as family
from torch import nn

from service.console.nearest import with_hint
from service.errors import UsageError
from training.network import backbone
from training.recipe import Architecture

STRIDE_PX = 32


def names() -> list[str]:
    """Every xresnet that `build` accepts."""
    return [name for name in family.__all__ if name.startswith(("xres", "xse_"))]


def build(architecture: Architecture, classes: int) -> nn.Module:
    """An untrained network with `classes` outputs; shortcuts use average pooling.

    fastai's MaxPool shortcut ignores `ceil_mode` and mismatches at sides that are not a multiple of
    the stride, so average pooling, the default, is the only one offered.

    Raises:
        UsageError: no such architecture, or values that a backbone does not have.
    """
    if architecture.is_backbone:
        if replace(architecture, name="") != Architecture(name=""):
            raise UsageError(f"act, self_attention and widen are not for {architecture.name}")
        return backbone.build(architecture.name, classes)
    if architecture.name not in names():
        message = f"no architecture {architecture.name!r}; there are: {', '.join(names())}"
        raise UsageError(with_hint(message, architecture.name, names()))
    options: dict[str, Any] = {"n_out": classes, "sa": architecture.self_attention}
    if architecture.widen != 1.0:
        options["widen"] = architecture.widen
    if architecture.act == "mish":
        options["act_cls"] = Mish
    return partial(getattr(family, architecture.name), pretrained=False)(**options)
