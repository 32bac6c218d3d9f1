"""The view of `none` is what a library's own preprocessing makes of photos that are not square."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import training.torchvision_compat  # noqa: F401  (before fastai)

# isort: split

import numpy as np
import pytest
import torch
from fastai.vision.all import (
    CrossEntropyLossFlat,
    ImageDataLoaders,
    Learner,
    RandomCrop,
    RandomResizedCrop,
    Resize,
    aug_transforms,
)
from PIL import Image
from torch import nn

import quincunx
from service.errors import UsageError
from service.inference.image.geometry import Size
from service.inference.image.views import Pixels, cut, resize, size_of
from service.inference.tta.planner import Planner
from service.package.manifest import Fit, InputSize
from tests.support.classifiers import average_linear, classifier
from tests.support.dataset import drawn_dataset
from tests.support.images import drawn
from training.imports.given import Given
from training.imports.learners.reading import read
from training.imports.modules.opening import open_module
from training.imports.modules.own_preprocessing import difference
from training.imports.modules.source import ModuleSource, complete, with_options
from training.imports.sources import timm_model, torchvision_model, transformers_model

SHAPES = [(90, 61), (48, 131), (77, 77)]
SIDE_PX = 32
HALF = (0.5, 0.5, 0.5)


def none_view(image: np.ndarray, sizes: InputSize) -> Pixels:
    (only,) = Planner(sizes).passes("none", size_of(image))
    return cut(resize(image, only.resized, only.interpolation), only.box)


def sizes_of(source: ModuleSource, **options: Any) -> InputSize:
    given = Given(labels="numbers", **options)
    return complete(with_options(source, given), given).sizes


def as_pixels(planes: torch.Tensor, source: ModuleSource) -> np.ndarray:
    """Normalized float[3, H, W] -> float[H, W, 3] in 0..255."""
    mean, std = (torch.tensor(one).view(3, 1, 1) for one in (source.mean, source.std))
    return ((planes * std + mean) * 255).permute(1, 2, 0).numpy()


def timm_squash(share: float) -> tuple[ModuleSource, Callable[[Image.Image], np.ndarray]]:
    timm: Any = pytest.importorskip("timm", reason="pip install 'quincunx[timm]'")
    cfg = {"input_size": (3, SIDE_PX, SIDE_PX), "crop_mode": "squash", "crop_pct": share}
    model = timm.create_model("test_resnet", pretrained_cfg_overlay=cfg, num_classes=3)
    source = timm_model.described("test_resnet", model, "random")
    config = timm.data.resolve_data_config({}, model=model)
    transform = timm.data.create_transform(**config, is_training=False)
    return source, lambda image: as_pixels(transform(image), source)


def transformers_squash(
    kind: str, stated: dict[str, Any]
) -> tuple[ModuleSource, Callable[[Image.Image], np.ndarray]]:
    transformers: Any = pytest.importorskip("transformers", reason="pip install 'quincunx[hf]'")
    stated = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 2, **stated}
    processor = getattr(transformers, f"{kind}ImageProcessorPil")(**stated)
    config = getattr(transformers, f"{kind}Config")(num_labels=3)
    holder: Any = nn.Identity()
    holder.config = config
    source = transformers_model.described(kind, holder, stated, "")

    def own(image: Image.Image) -> np.ndarray:
        planes = processor(image, return_tensors="pt")["pixel_values"][0]
        return as_pixels(torch.as_tensor(planes), source)

    return source, own


def fastai_squash(
    folder: Path, *steps: Any, batch: Any = ()
) -> tuple[ModuleSource, Callable[[Image.Image], np.ndarray]]:
    data = drawn_dataset(folder, train=2, val=1)
    dls: Any = ImageDataLoaders.from_folder(
        data, valid="val", bs=2, num_workers=0, item_tfms=list(steps), batch_tfms=list(batch)
    )
    learn = Learner(dls, nn.Identity(), loss_func=CrossEntropyLossFlat())

    def own(image: Image.Image) -> np.ndarray:
        image.save(folder / "photo.png")
        (given,) = dls.test_dl([folder / "photo.png"]).one_batch()
        return (given[0].as_subclass(torch.Tensor) * 255).permute(1, 2, 0).numpy()

    return read(learn), own


SOURCES: dict[str, Callable[[Path], tuple[ModuleSource, Callable[[Image.Image], np.ndarray]]]] = {
    "timm": lambda _: timm_squash(1.0),
    "timm, a share": lambda _: timm_squash(0.8),
    "vit": lambda _: transformers_squash("ViT", {"size": {"height": 32, "width": 32}}),
    "vit, old": lambda _: transformers_squash("ViT", {"size": 32}),
    "deit": lambda _: transformers_squash("DeiT", {"size": 40, "crop_size": 32}),
    "convnext": lambda _: transformers_squash(
        "ConvNext", {"size": {"shortest_edge": 384}, "crop_pct": 1.0}
    ),
    "resize": lambda at: fastai_squash(at, Resize(SIDE_PX, "squish")),
    "resize and crop": lambda at: fastai_squash(at, Resize(48, "squish"), RandomCrop(SIDE_PX)),
    "random crop": lambda at: fastai_squash(at, RandomResizedCrop(SIDE_PX)),
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_squashing_source_is_squashed_alike(tmp_path: Path, name: str) -> None:
    source, own = SOURCES[name](tmp_path)
    sizes = sizes_of(source)
    assert sizes.fit == "squash"
    assert not source.notes
    for height, width in SHAPES:
        image = drawn(height, width, height)
        expected = own(Image.fromarray(image))
        assert expected.shape == (sizes.crop_px, sizes.crop_px, 3)
        np.testing.assert_allclose(none_view(image, sizes), expected, rtol=0, atol=0.01)
        kept = none_view(image, sizes.model_copy(update={"fit": "shorter_side"}))
        alike = np.allclose(kept, expected, rtol=0, atol=0.01)
        assert alike == (height == width)


@pytest.mark.parametrize("name", SOURCES)
def test_an_import_compares_with_the_own_preprocessing(tmp_path: Path, name: str) -> None:
    source, _ = SOURCES[name](tmp_path)
    assert apart(source, sizes_of(source)) == ""
    kept = sizes_of(source).model_copy(update={"fit": "shorter_side"})
    assert "differ from the source's own preprocessing" in apart(source, kept)


def test_sources_that_keep_the_shape_are_compared_too(tmp_path: Path) -> None:
    presized, _ = fastai_squash(tmp_path, Resize(96), batch=aug_transforms(size=SIDE_PX))
    for source in (torchvision_model.untrained("squeezenet1_1"), presized):
        assert source.fit == "shorter_side"
        assert apart(source, sizes_of(source)) == ""
        squashed = sizes_of(source).model_copy(update={"fit": "squash"})
        assert "differ from the source's own preprocessing" in apart(source, squashed)


def apart(source: ModuleSource, sizes: InputSize) -> str:
    assert source.own is not None
    assert source.mean is not None
    assert source.std is not None
    return difference(source.own, sizes, source.mean, source.std)


def test_the_report_says_what_differs_unless_an_option_asked_for_it() -> None:
    def stretched(photo: Pixels) -> torch.Tensor:
        planes = torch.from_numpy(resize(photo, Size(72, 72))[4:68, 4:68].copy())
        return (planes.permute(2, 0, 1) / 255 - 0.5) / 0.5

    def fails(photo: Pixels) -> torch.Tensor:
        raise ValueError(f"no photos of {photo.shape[0]} rows")

    source = ModuleSource(
        "own", classifier(*average_linear()), HALF, HALF, 64, 72, "bilinear",
        labels=list("abcde"), own=stretched,
    )  # fmt: skip

    def notes(source: ModuleSource, **options: Any) -> str:
        return "; ".join(open_module(source, Given(**options))[0].notes)

    assert "own preprocessing by" in notes(source)
    assert "own preprocessing" not in notes(replace(source, fit="squash"))
    assert "own preprocessing" not in notes(source, fit="squash")
    assert "own preprocessing" not in notes(source, resize_px=64)
    assert "it fails: no photos of 72 rows" in notes(replace(source, own=fails))
    whole = replace(source, own=lambda photo: torch.zeros(3, 64, 80))
    assert "inputs of 80×64 px, the package of 64×64" in notes(whole)


def test_another_fit_than_that_of_the_source_is_a_note() -> None:
    source = ModuleSource("own", nn.Identity(), fit="squash")
    assert with_options(source, Given()) == source
    assert with_options(source, Given(fit="squash")) == source
    changed = with_options(source, Given(fit="shorter_side"))
    assert changed.fit == "shorter_side"
    assert "resizes photos by fit squash; --fit shorter_side was named" in changed.notes[0]


@pytest.mark.parametrize("fit", ["shorter_side", "squash"])
def test_a_module_is_exported_with_the_fit_that_is_named(tmp_path: Path, fit: Fit) -> None:
    module = classifier(*average_linear())
    options: dict[str, Any] = {
        "labels": list("abcde"), "mean": (0.5,) * 3, "std": (0.5,) * 3, "crop_px": 64,
        "resize_px": 72, "log": lambda _: None,
    }  # fmt: skip
    package = quincunx.export_module(module, tmp_path / "own", fit=fit, **options)
    assert package.manifest.input.fit == fit
    with pytest.raises(UsageError, match=r"fit: .*but got 'stretch'"):
        quincunx.export_module(module, tmp_path / "x", fit="stretch", **options)  # type: ignore
