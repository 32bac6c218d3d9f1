"""`timm:NAME`: a model of timm. Its pretrained_cfg says the preprocessing."""

from difflib import get_close_matches
from math import floor
from typing import Any

from PIL import Image

from service.errors import UsageError
from service.inference.image.views import Pixels
from service.package.manifest import Fit, Interpolation
from training.imports.given import Given
from training.imports.modules.own_preprocessing import Preprocess
from training.imports.modules.source import ModuleSource
from training.imports.sources import hub, weights
from training.imports.sources.extras import library

FILTERS: tuple[Interpolation, ...] = ("bilinear", "bicubic")
FITS: dict[str, Fit] = {"center": "shorter_side", "squash": "squash"}
"""By timm's crop_mode. Every mode cuts the centre at the end."""


def read(name: str, given: Given) -> ModuleSource:
    """The model with its weights, from `given.weights` or the hub, and what timm says of it.

    Raises:
        UsageError: timm is missing, or the name is unknown.
        ImportRefused: the weights cannot be had.
    """
    timm = _having(name)
    if given.weights is not None:
        tensors = weights.read(given.weights)
        cfg = timm.get_pretrained_cfg(name)
        last = cfg.classifier if isinstance(cfg.classifier, str) else cfg.classifier[0]
        classes = weights.classes(tensors, last, given.weights)
        model = build(name, classes)
        weights.load(model, tensors, given.weights)
    else:
        bring = (
            "Bring them as a file: on a machine with access, "
            f"timm.create_model({name!r}, pretrained=True) and safetensors.torch.save_model(model, "
            "'weights.safetensors'); then add --weights weights.safetensors"
        )
        with hub.downloading(f"timm:{name}", bring):
            model = timm.create_model(name, pretrained=True)
    return described(name, model, str(given.weights.name) if given.weights else "the hub")


def build(name: str, classes: int) -> Any:
    """The model without its weights, for this number of classes. Nothing is downloaded."""
    return _having(name).create_model(name, pretrained=False, num_classes=classes)


def untrained(name: str) -> ModuleSource:
    """The model with random weights, and what timm says of it; nothing is downloaded."""
    return described(name, _having(name).create_model(name, pretrained=False), "random")


def _having(name: str) -> Any:
    timm: Any = library("timm", "timm")
    if not timm.is_model(name):
        near = get_close_matches(name.split(".")[0], timm.list_models(), 5)
        hint = f"; near: {', '.join(near)}" if near else ""
        raise UsageError(f"timm:{name}: timm has no such model{hint}")
    return timm


def described(name: str, model: Any, origin: str) -> ModuleSource:
    """What timm says of `model`."""
    timm = library("timm", "timm")
    config: dict[str, Any] = timm.data.resolve_data_config({}, model=model)
    _, height, width = config["input_size"]
    notes: list[str] = []
    if height != width:
        raise UsageError(f"timm:{name} takes {width}×{height} px; crops are square")
    crop_mode = config.get("crop_mode") or "center"
    if crop_mode not in FITS:
        notes.append(f"timm's crop_mode is {crop_mode}; the package can center and squash only")
    filter_name = config["interpolation"]
    return ModuleSource(
        name=f"timm:{name}",
        module=model,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        crop_px=height,
        resize_px=max(height, floor(height / config["crop_pct"])),
        interpolation=filter_name if filter_name in FILTERS else None,
        fit=FITS.get(crop_mode, "shorter_side"),
        labels=_labels(timm, model),
        activation="none",
        statistics_from=f"timm's pretrained_cfg of {_full_name(model)}",
        architecture=name,
        facts={"weights": origin, "timm": timm.__version__},
        notes=tuple(notes),
        own=_own(timm, config),
    )


def _own(timm: Any, config: dict[str, Any]) -> Preprocess:
    def prepared(photo: Pixels) -> Any:
        return timm.data.create_transform(**config, is_training=False)(Image.fromarray(photo))

    return prepared


def _labels(timm: Any, model: Any) -> list[object] | None:
    cfg = model.pretrained_cfg
    if cfg.get("label_names"):
        names = list(cfg["label_names"])
        described = cfg.get("label_descriptions") or {}
        return [[name, described.get(name, name)] for name in names]
    subset = timm.data.infer_imagenet_subset(model)
    if subset is None:
        return None
    info = timm.data.ImageNetInfo(subset)
    ids = info.label_names()
    return [[one, _short(info.label_name_to_description(one))] for one in ids]


def _full_name(model: Any) -> str:
    cfg = model.pretrained_cfg
    return ".".join(part for part in (cfg["architecture"], cfg.get("tag")) if part)


def _short(description: str) -> str:
    """The first of several synonyms."""
    return description.split(",")[0].strip() or description
