"""`hf:FOLDER_OR_NAME`: an image classifier of transformers, with its preprocessor_config.json."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from service.console.text import reason_of
from service.errors import ImportRefused, UsageError
from service.inference.image.views import Pixels
from service.package.manifest import Fit, Interpolation
from training.imports.given import Given
from training.imports.modules.own_preprocessing import Preprocess
from training.imports.modules.source import ModuleSource
from training.imports.sources import hub
from training.imports.sources.extras import library
from training.surgery.wanted import Triple

RESAMPLE: dict[int, Interpolation] = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers, which the preprocessor's file has."""
SMALL_PX = 384
"""ConvNeXt's preprocessor cuts a share of the image below this size, and squashes from it on."""
DEFAULTS = (
    "size", "do_resize", "resample", "crop_pct", "do_center_crop", "crop_size", "do_normalize",
    "image_mean", "image_std",
)  # fmt: skip
PREPROCESSOR = "preprocessor_config.json"


def read(name: str, given: Given) -> ModuleSource:
    """The model of a folder or of a repository of the hub, and what its files say.

    Only safetensors are read, and no code of the repository runs.

    Raises:
        UsageError: transformers is missing.
        ImportRefused: no image classifier, or the weights cannot be had.
    """
    if given.weights is not None:
        raise UsageError("--weights is for timm and torchvision: name the folder, hf:FOLDER")
    transformers = library("transformers", "hf")
    folder = Path(name)
    options = {"use_safetensors": True, "trust_remote_code": False, "attn_implementation": "eager"}
    if folder.is_dir():
        try:
            model = transformers.AutoModelForImageClassification.from_pretrained(folder, **options)
        except (OSError, ValueError, KeyError) as error:
            raise ImportRefused(
                f"{folder} is not an image classifier in safetensors: {reason_of(error, 300)}"
            ) from error
        stated = _stated(folder / PREPROCESSOR)
    else:
        bring = (
            "Bring them as a folder: on a machine with access, "
            f"huggingface-cli download {name} --local-dir FOLDER; then import hf:FOLDER"
        )
        with hub.downloading(f"hf:{name}", bring):
            model = transformers.AutoModelForImageClassification.from_pretrained(name, **options)
            stated = _stated(
                Path(library("huggingface_hub", "hf").hf_hub_download(name, PREPROCESSOR))
            )
    return described(name, model, stated, transformers.__version__)


def described(name: str, model: Any, stated: Mapping[str, Any], version: str) -> ModuleSource:
    """What the configuration and the preprocessor's file say."""
    processor = _processor(model.config, stated)
    if stated:  # what the file leaves out is as in the class
        found = {key: getattr(processor, key, None) for key in DEFAULTS}
        stated = {**{key: one for key, one in found.items() if one is not None}, **stated}
    mean, std = _statistics(stated)
    crop_px, resize_px, fit = _sizes(stated, processor)
    names: Mapping[int, str] = model.config.id2label
    problem = getattr(model.config, "problem_type", None)
    return ModuleSource(
        name=f"hf:{Path(name).name if Path(name).is_dir() else name}",
        module=model,
        mean=mean,
        std=std,
        crop_px=crop_px,
        resize_px=resize_px,
        interpolation=RESAMPLE.get(stated.get("resample", 2)),
        fit=fit,
        labels=[names[index] for index in sorted(names)],
        activation="none",
        task="multi_label" if problem == "multi_label_classification" else None,
        statistics_from=PREPROCESSOR,
        architecture=model.config.model_type,
        facts={"transformers": version, "class": type(model).__name__},
        own=_own(processor, stated) if processor and stated else None,
    )


def _stated(path: Path) -> dict[str, Any]:
    try:
        stated = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ImportRefused(f"{path} cannot be read: {error}") from None
    if not isinstance(stated, dict):
        raise ImportRefused(f"{path} must hold a JSON object")
    return stated


def _statistics(stated: Mapping[str, Any]) -> tuple[Triple | None, Triple | None]:
    """Mean and std in units of 0..1, of pixels that the preprocessor multiplies by a factor."""
    if not stated:
        return None, None
    factor = float(stated.get("rescale_factor", 1 / 255)) if stated.get("do_rescale", True) else 1.0
    scale = factor * 255  # 1 where pixels become 0..1
    offset = 1.0 if stated.get("rescale_offset") else 0.0
    mean, std = stated.get("image_mean"), stated.get("image_std")
    if not stated.get("do_normalize", True):
        mean, std = [0.0] * 3, [1.0] * 3
    if mean is None or std is None:
        return None, None
    return (
        _triple([(one + offset) / scale for one in mean]),
        _triple([one / scale for one in std]),
    )


def _triple(values: list[float]) -> Triple:
    if len(values) != 3:
        raise ImportRefused(f"{PREPROCESSOR} normalizes {len(values)} channels, but images have 3")
    return (values[0], values[1], values[2])


def _processor(config: Any, stated: Mapping[str, Any]) -> Any:
    """The class of the preprocessor in transformers; None if it is unknown.

    The file names the class, perhaps by an old name. Otherwise the model's configuration decides.
    """
    transformers = library("transformers", "hf")
    name = stated.get("image_processor_type") or stated.get("feature_extractor_type")
    if name is None:
        classes = transformers.IMAGE_PROCESSOR_MAPPING.get(type(config), None) or {}
        return next(iter(classes.values()), None)
    name = str(name).replace("FeatureExtractor", "ImageProcessor").removesuffix("Fast")
    return getattr(transformers, name, None)


def _own(processor: Any, stated: Mapping[str, Any]) -> Preprocess:
    def prepared(photo: Pixels) -> Any:
        made = processor.from_dict(dict(stated))
        return made(Image.fromarray(photo), return_tensors="pt")["pixel_values"][0]

    return prepared


def _sizes(
    stated: Mapping[str, Any], processor: Any = None
) -> tuple[int | None, int | None, Fit | None]:
    """Crop, resize and fit, where `stated` says them.

    One number is a square or a shorter side. The class of the preprocessor decides which.
    """
    resized, share = stated.get("size"), stated.get("crop_pct")
    if resized is None or not stated.get("do_resize", True):
        return None, None, None
    if isinstance(resized, int):
        square = getattr(processor, "default_to_square", False)
        resized = {"height": resized, "width": resized} if square else {"shortest_edge": resized}
    if "shortest_edge" in resized:
        side = int(resized["shortest_edge"])
        if share is not None and side < SMALL_PX:  # ConvNeXt: the size is that of the crop
            return side, int(side / share), "shorter_side"
        if share is not None:
            return side, side, "squash"
        crop = _crop(stated) or side
        return crop, max(side, crop), "shorter_side"
    height, width = int(resized.get("height", 0)), int(resized.get("width", 0))
    crop = _crop(stated) or min(height, width)
    if not crop or height != width:
        return None, None, None
    return crop, max(height, crop), "squash"


def _crop(stated: Mapping[str, Any]) -> int | None:
    if not stated.get("do_center_crop", False) or stated.get("crop_size") is None:
        return None
    size = stated["crop_size"]
    return int(size) if isinstance(size, int) else int(min(size["height"], size["width"]))
