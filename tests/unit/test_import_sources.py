"""`quincunx import`: what each source says when something is missing, and what it reads."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import quincunx
import training.torchvision_compat  # noqa: F401
from service.errors import ImportRefused, UsageError
from tests.support.classifiers import average_linear, body, classifier
from training.imports.given import Given
from training.imports.modules.opening import open_module
from training.imports.modules.source import ModuleSource
from training.imports.sources import open_source, torchvision_model, transformers_model

HALF = (0.5, 0.5, 0.5)


def source(module: nn.Module, **changes: Any) -> ModuleSource:
    said: dict[str, Any] = {
        "mean": HALF, "std": HALF, "crop_px": 64, "resize_px": 72, "interpolation": "bilinear",
        "labels": ["a", "b", "c", "d", "e"],
    }  # fmt: skip
    return ModuleSource("test", module, **{**said, **changes})


@pytest.mark.parametrize("name", ["timm", "torchvision", "hf", "python"])
def test_a_source_without_a_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="a name is missing"):
        open_source(f"{name}:", Given())


@pytest.mark.parametrize(
    ("given", "library", "extra"),
    [("timm:resnet18", "timm", "timm"), ("hf:some/model", "transformers", "hf")],
)
def test_a_missing_library_is_one_line_with_the_command(
    given: str, library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UsageError, match=rf"{library} is not installed: .*quincunx\[{extra}\]"):
        open_source(given, Given())


def test_a_pickle_is_read_only_with_trust(tmp_path: Path) -> None:
    path = tmp_path / "learner.pkl"
    ran = tmp_path / "ran"

    class Hostile:
        def __reduce__(self) -> tuple[Any, tuple[Path]]:
            return Path.touch, (ran,)

    torch.save(Hostile(), path)
    with pytest.raises(UsageError, match=r"runs code .* --trust-pickle"):
        open_source(str(path), Given())
    assert not ran.exists()
    with pytest.raises(ImportRefused, match="cannot be loaded as a Learner"):
        open_source(str(path), Given(trust_pickle=True))
    assert ran.exists()


def test_unknown_sources_and_names_are_refused_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a source is FILE\.onnx, timm:NAME"):
        open_source("resnet18", Given())
    with pytest.raises(UsageError, match="resnet18"):
        open_source("torchvision:resnet19", Given())
    with pytest.raises(UsageError, match="IMAGENET1K_V1"):
        open_source("torchvision:resnet18.V9", Given())
    with pytest.raises(UsageError, match="--weights goes with"):
        open_source("model.onnx", Given(weights=tmp_path / "w.pth"))


def test_weights_that_cannot_be_downloaded_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import models

    def offline(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(models, "get_model", offline)
    with pytest.raises(ImportRefused, match=r"Name or service not known.*--weights FILE"):
        torchvision_model.read("resnet18", Given())


CODE = """
from tests.support.classifiers import average_linear, classifier


def good():
    made = classifier(*average_linear())
    made.mean, made.std = [0.5] * 3, 0.25
    made.crop_px, made.resize_px, made.interpolation = 64, 72, "bicubic"
    made.labels = [("n1", "one"), ("n2", "two"), "three", "four", "five"]
    return made


def fails():
    raise ValueError("no weights here")


def other():
    return 3
"""


def test_a_function_says_the_rest_by_attributes_and_options_win(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own_models.py").write_text(CODE)
    for place in ("own_models", "own_models.py"):
        converted, spec = open_source(f"python:{place}:good", Given())
        assert converted.wanted.std == (0.25, 0.25, 0.25)
        assert (spec.sizes.resize_px, spec.sizes.interpolation) == (72, "bicubic")
        assert (spec.labels[0].id, spec.labels[0].name) == ("n1", "one")
    converted, spec = open_source("python:own_models:good", Given(labels="numbers", crop_px=32))
    assert [one.id for one in spec.labels] == list("01234")
    assert (spec.sizes.crop_px, spec.sizes.resize_px) == (32, 36)  # the same share of the image
    with pytest.raises(ImportRefused, match="no weights here"):
        open_source("python:own_models:fails", Given())
    with pytest.raises(ImportRefused, match="returns a int"):
        open_source("python:own_models:other", Given())
    with pytest.raises(UsageError, match="no function none"):
        open_source("python:own_models:none", Given())
    with pytest.raises(UsageError, match="no module"):
        open_source("python:not_there:good", Given())
    with pytest.raises(UsageError, match="the form is"):
        open_source("python:own_models", Given())


def test_what_nobody_says_is_listed_at_once() -> None:
    module = classifier(*average_linear())
    with pytest.raises(UsageError, match=r"normalization.*crop_px.*resize_px.*interp.*labels"):
        open_module(ModuleSource("test", module), Given())
    with pytest.raises(UsageError, match="5 classes, but has 2 labels"):
        open_module(source(module, labels=["a", "b"]), Given())


def test_a_module_of_one_size_is_served_at_that_size() -> None:
    module = classifier(nn.Flatten(), nn.Linear(24 * 8 * 8, 5))
    converted, _ = open_module(source(module), Given())
    assert converted.kind == "crops"
    assert converted.sizes == ((64, 64),)
    assert "does not take" in " ".join((converted.reason, *converted.notes))


class Padded(nn.Module):
    """A number that depends on the side in Python: a traced graph holds that of the example."""

    def __init__(self) -> None:
        super().__init__()
        self.network = classifier(*average_linear())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(images) * (float(images.shape[3]) / 64)


def test_a_graph_is_never_served_where_it_differs_from_its_module() -> None:
    converted, spec = open_module(source(Padded()), Given())
    from training.imports import parity

    again, found = parity.check(converted, spec)
    assert found.worst < parity.TOLERANCE
    assert again.sizes == converted.sizes


class Branching(nn.Module):
    """Its path depends on the pixels. Drawn pictures take one path, white ones the other."""

    def __init__(self) -> None:
        super().__init__()
        self.network = classifier(*average_linear())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found = self.network(images)
        return found.flip(1) if float(images.mean()) > 0.9 else found


def test_a_module_whose_path_depends_on_the_pixels_is_refused() -> None:
    with pytest.raises(ImportRefused, match="cannot be exported"):
        open_module(source(Branching()), Given())


def test_several_outputs_and_dictionaries_give_the_logits() -> None:
    class Several(nn.Module):
        def __init__(self, form: str) -> None:
            super().__init__()
            self.network, self.form = classifier(*average_linear()), form

        def forward(self, images: torch.Tensor) -> Any:
            found = self.network(images)
            return {"logits": found} if self.form == "dict" else (found, images)

    for form in ("dict", "tuple"):
        converted, _ = open_module(source(Several(form)), Given())
        assert converted.kind == "class_map"


def test_export_module_leaves_the_module_and_refuses_what_does_not_fit(tmp_path: Path) -> None:
    module = classifier(*average_linear()).train()
    options: dict[str, Any] = {
        "labels": list("abcde"), "mean": HALF, "std": HALF, "crop_px": 64, "resize_px": 72,
        "log": lambda _: None,
    }  # fmt: skip
    package = quincunx.export_module(module, tmp_path / "x", **options)
    assert package.manifest.input.interpolation == "bilinear"
    assert module.training
    with pytest.raises(UsageError, match="overwrite"):
        quincunx.export_module(module, tmp_path / "x", **options)
    with pytest.raises(UsageError, match="mean must be 3 numbers"):
        quincunx.export_module(module, tmp_path / "y", **{**options, "mean": [0.5]})
    with pytest.raises(ImportRefused, match="fails on RGB images"):
        quincunx.export_module(nn.Linear(3, 3), tmp_path / "y", **options)
    with pytest.raises(ImportRefused, match="classifier gives one logit"):
        quincunx.export_module(nn.Sequential(*body()), tmp_path / "y", **options)
    assert not (tmp_path / "y").exists()


KEEPS, SQUASHES = "shorter_side", "squash"
PREPROCESSORS: dict[str, tuple[dict[str, Any], tuple[int | None, int | None, str | None]]] = {
    "shortest edge and crop": (
        {"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": 224},
        (224, 256, KEEPS),
    ),
    "convnext": ({"size": {"shortest_edge": 224}, "crop_pct": 0.875}, (224, 256, KEEPS)),
    "convnext, large": ({"size": {"shortest_edge": 384}, "crop_pct": 1.0}, (384, 384, SQUASHES)),
    "vit": ({"size": {"height": 224, "width": 224}}, (224, 224, SQUASHES)),
    "squashed and cut": (
        {"size": {"height": 256, "width": 256}, "do_center_crop": True, "crop_size": 224},
        (224, 256, SQUASHES),
    ),
    "old form": ({"size": 224}, (224, 224, KEEPS)),
    "rectangle": ({"size": {"height": 224, "width": 160}}, (None, None, None)),
    "nothing": ({}, (None, None, None)),
}  # fmt: skip


@pytest.mark.parametrize("name", PREPROCESSORS)
def test_sizes_of_a_preprocessor(name: str) -> None:
    stated, expected = PREPROCESSORS[name]
    assert transformers_model._sizes(stated) == expected


def test_statistics_of_a_preprocessor_are_in_units_of_0_to_1() -> None:
    stated = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    assert transformers_model._statistics(stated) == (HALF, HALF)
    shifted = {**stated, "rescale_factor": 1 / 127.5, "rescale_offset": True}
    mean, std = transformers_model._statistics(shifted)
    assert mean == pytest.approx((0.75,) * 3)  # (p / 127.5 - 1 - .5) / .5
    assert std == pytest.approx((0.25,) * 3)
    plain = {**stated, "do_normalize": False}
    assert transformers_model._statistics(plain) == ((0, 0, 0), (1, 1, 1))
    assert transformers_model._statistics({}) == (None, None)
