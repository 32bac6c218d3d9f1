"""Models of fastai, timm and torchvision with random weights, imported and served over HTTP.

One server has them all. Each answers every mode that its package offers, as its module does.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from torch import nn

import quincunx
import training.torchvision_compat  # noqa: F401
from service.package.modes import modes
from service.package.package import ModelPackage
from tests.support.dataset import drawn_dataset
from tests.support.images import drawn, encoded
from tests.support.server import serving

timm: Any = pytest.importorskip("timm", reason="pip install 'quincunx[timm]'")

SIDE_PX, LARGER_PX = 64, 80
CLASSES = 3
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PLAIN = {"none", "five_crop", "ten_crop"}


@dataclass(frozen=True)
class Made:
    """A package and the module that it was made of."""

    folder: Path
    module: nn.Module
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD

    def probabilities(self, crop: np.ndarray) -> np.ndarray:
        """uint8[H, W, 3] -> float64[K], by the module itself."""
        planes = torch.from_numpy(crop).permute(2, 0, 1)[None] / 255
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (self.mean, self.std))
        with torch.inference_mode():
            logits = self.module.eval()((planes - mean) / std)
        return logits.double().softmax(1)[0].numpy()


def shaken(module: nn.Module) -> nn.Module:
    """Random weights of untrained networks hide faults: zero scales, equal logits."""
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, std=0.2)
    *_, last = (part for part in module.modules() if isinstance(part, nn.Linear))
    nn.init.normal_(last.weight, std=0.2)
    return module


def of_module(make: Callable[[], nn.Module], folder: Path) -> Made:
    module = shaken(make())
    quincunx.export_module(
        module, folder, labels=["a", "b", "c"], mean=MEAN, std=STD, crop_px=SIDE_PX,
        resize_px=LARGER_PX, interpolation="bicubic", log=lambda _: None,
    )  # fmt: skip
    return Made(folder, module)


def torchvision_model(name: str) -> nn.Module:
    from torchvision import models

    return models.get_model(name, weights=None, num_classes=CLASSES)


def of_learner(kind: str, folder: Path) -> Made:
    from fastai.vision.all import (
        CrossEntropyLossFlat,
        ImageDataLoaders,
        Learner,
        Normalize,
        Resize,
        resnet34,
        vision_learner,
        xresnet18,
    )

    data = drawn_dataset(folder.parent / f"{kind}-data", train=4, val=2)
    dls = ImageDataLoaders.from_folder(
        data, valid="val", bs=4, num_workers=0, item_tfms=Resize(SIDE_PX),
        batch_tfms=Normalize.from_stats(MEAN, STD),
    )  # fmt: skip
    learn: Any
    if kind == "xresnet18":
        learn = Learner(dls, xresnet18(n_out=CLASSES), loss_func=CrossEntropyLossFlat())
    else:
        learn = vision_learner(dls, resnet34, pretrained=False, normalize=False)
    shaken(learn.model)
    quincunx.export_learner(learn, folder, resize_px=LARGER_PX, log=lambda _: None)
    return Made(folder, learn.model)


def of_timm(name: str, **options: Any) -> Callable[[Path], Made]:
    return partial(of_module, partial(timm.create_model, name, num_classes=CLASSES, **options))


def of_torchvision(name: str) -> Callable[[Path], Made]:
    return partial(of_module, partial(torchvision_model, name))


MODELS: dict[str, tuple[Callable[[Path], Made], str]] = {
    "xresnet18-learner": (partial(of_learner, "xresnet18"), "class_map"),
    "resnet34-vision-learner": (partial(of_learner, "resnet34"), "windows"),
    "timm-resnet18": (of_timm("resnet18"), "class_map"),
    "timm-mobilenetv3": (of_timm("mobilenetv3_small_050"), "windows"),
    "timm-convnext": (of_timm("convnext_atto"), "windows"),
    "timm-rexnet": (of_timm("rexnet_100"), "class_map"),
    "timm-vit": (
        of_timm("vit_tiny_patch16_224", img_size=SIDE_PX, depth=2), "crops",
    ),
    "torchvision-resnet18": (of_torchvision("resnet18"), "class_map"),
    "torchvision-mobilenetv3": (of_torchvision("mobilenet_v3_small"), "windows"),
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> dict[str, Made]:
    folder = tmp_path_factory.mktemp("imported")
    return {name: make(folder / name) for name, (make, _) in MODELS.items()}


@pytest.fixture(scope="module")
def served(
    made: dict[str, Made], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    packages = [one.folder for one in made.values()]
    with (
        serving(packages, tmp_path_factory.mktemp("served")) as running,
        httpx.Client(base_url=running.url, timeout=120) as client,
    ):
        yield client


@pytest.mark.parametrize("name", MODELS)
def test_it_is_served_in_every_mode_that_it_can_answer(
    made: dict[str, Made], served: httpx.Client, name: str
) -> None:
    manifest = ModelPackage.load(made[name].folder).manifest
    kind = MODELS[name][1]
    assert manifest.graph.kind == kind
    can = set(modes(manifest)) - {"custom"}
    assert can == (PLAIN if kind == "crops" else PLAIN | {"dense", "centre_dense"})
    image = encoded(drawn(90, 120, seed=2))
    for mode in sorted(can):
        answer = served.post(
            "/classify", params={"tta": mode, "model": name}, files={"image": ("a.png", image)}
        )
        assert answer.status_code == 200, answer.text
        assert answer.json()["tta_applied"] == mode
        found = [one["probability"] for one in answer.json()["predictions"]]
        assert sum(found) == pytest.approx(1, abs=1e-5)
    refused = served.post(
        "/classify", params={"tta": "dense", "model": name}, files={"image": ("a.png", image)}
    )
    assert refused.status_code == (400 if kind == "crops" else 200), refused.text


@pytest.mark.parametrize("name", MODELS)
def test_the_answer_is_that_of_the_module(
    made: dict[str, Made], served: httpx.Client, name: str
) -> None:
    image = drawn(LARGER_PX, LARGER_PX, seed=3)
    edge = (LARGER_PX - SIDE_PX) // 2
    inside = slice(edge, edge + SIDE_PX)
    expected = made[name].probabilities(np.ascontiguousarray(image[inside, inside]))
    answer = served.post(
        "/classify",
        params={"tta": "none", "model": name, "top_k": str(CLASSES)},
        files={"image": ("a.png", encoded(image))},
    )
    assert answer.status_code == 200, answer.text
    manifest = ModelPackage.load(made[name].folder).manifest
    index = {label.id: label.index for label in manifest.labels}
    found = np.zeros(CLASSES)
    for one in answer.json()["predictions"]:
        found[index[one["label"]]] = one["probability"]
    np.testing.assert_allclose(found, expected, atol=2e-4)
    assert expected.max() > 1.05 / CLASSES  # equal logits would show nothing
