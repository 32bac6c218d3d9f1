"""`torchvision:NAME`: a model of torchvision. Its Weights say the preprocessing and the classes."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from service.errors import ImportRefused, UsageError
from service.package.manifest import Interpolation
from training.imports.given import Given
from training.imports.modules.source import ModuleSource
from training.imports.sources import hub, weights
from training.imports.sources.extras import library

FILTERS: dict[str, Interpolation] = {"bilinear": "bilinear", "bicubic": "bicubic"}
AUXILIARY = ("googlenet", "inception_v3")
"""These have more classifiers beside the last one, which answer in training only."""


def read(name: str, given: Given) -> ModuleSource:
    """The model with its weights, from `given.weights` or the net, and what torchvision says of it.

    `name` may end in the name of the weights: ``resnet50.IMAGENET1K_V2``. Without it the newest
    weights are taken (torchvision's DEFAULT).

    Raises:
        UsageError: torchvision is missing, or the name is unknown.
        ImportRefused: the weights cannot be had.
    """
    models, name, chosen = _having(name)
    if given.weights is None:
        bring = f"Bring them as a file: download {chosen.url}, then add --weights FILE"
        with hub.downloading(f"torchvision:{name}", bring):
            model = models.get_model(name, weights=chosen)
        return described(name, model, chosen, str(chosen))
    tensors = weights.read(given.weights)
    model = build(name, _classes(name, tensors, given.weights))
    weights.load(model, tensors, given.weights)
    return described(name, model, chosen, given.weights.name)


def build(name: str, classes: int) -> Any:
    """The model without its weights, for this number of classes. Nothing is downloaded."""
    models, name, _ = _having(name)
    options: dict[str, Any] = {"weights": None, "num_classes": classes}
    if name in AUXILIARY:
        options |= {"init_weights": False, "transform_input": True}
    return models.get_model(name, **options)


def untrained(name: str) -> ModuleSource:
    """The model with random weights, and what torchvision says of it; nothing is downloaded."""
    _, plain, chosen = _having(name)
    return described(plain, build(name, len(chosen.meta["categories"])), chosen, "random")


def _having(name: str) -> tuple[Any, str, Any]:
    """torchvision's models, the name without that of the weights, and the weights."""
    library("torchvision", "train")
    from torchvision import models

    name, _, tag = name.partition(".")
    known = models.list_models(module=models)
    if name not in known:
        near = get_close_matches(name, known, 5)
        hint = f"; near: {', '.join(near)}" if near else ""
        raise UsageError(f"torchvision:{name}: torchvision has no such classifier{hint}")
    kinds: Any = models.get_model_weights(name)
    if tag and tag not in kinds.__members__:
        raise UsageError(
            f"torchvision:{name}.{tag}: its weights are {', '.join(kinds.__members__)}"
        )
    return models, name, kinds[tag] if tag else kinds.DEFAULT


def described(name: str, model: Any, chosen: Any, origin: str) -> ModuleSource:
    """What the weights `chosen` say of `model`."""
    transforms = chosen.transforms()
    filter_name = transforms.interpolation.value
    notes = () if transforms.antialias else ("torchvision resizes without antialiasing",)
    return ModuleSource(
        name=f"torchvision:{name}",
        module=model,
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        crop_px=transforms.crop_size[0],
        resize_px=transforms.resize_size[0],
        interpolation=FILTERS.get(filter_name),
        fit="shorter_side",
        labels=list(chosen.meta["categories"]),
        activation="none",
        statistics_from=f"torchvision's {chosen}",
        architecture=name,
        facts={"weights": origin},
        notes=notes,
        own=lambda photo: transforms(Image.fromarray(photo)),
    )


def _classes(name: str, tensors: Mapping[str, Tensor], path: Path) -> int:
    """From the last layer. The order of a file says nothing: safetensors sorts by name."""
    for one in reversed(weights.head_names(build(name, weights.PROBE_CLASSES))):
        if one in tensors:
            return tensors[one].shape[0]
    raise ImportRefused(f"{path} holds no weights of {name}")
