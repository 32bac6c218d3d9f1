"""`quincunx train --backbone`: fine-tuned, resumed, exported, and answered as the network does."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_model
from typer.testing import CliRunner

import training.torchvision_compat  # noqa: F401
from service import cli
from service.inference.predictor import Predictor
from service.package.manifest import Manifest, Mode
from service.package.package import ModelPackage
from tests.support.dataset import drawn_dataset
from tests.support.images import coloured
from training import recipe
from training.fit.train import train
from training.network import architecture
from training.network.pretrained import RECIPE, Backbone
from training.recipe import Recipe
from training.run import checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")

SIDE_PX = 64
SET = [
    "stage.1.epochs=1", "stage.1.lr=6e-3", f"stage.1.size_px={SIDE_PX}", f"crop_px={SIDE_PX}",
    "resize_px=76", "calibration_share=0.2",
]  # fmt: skip
MODES: tuple[Mode, ...] = ("none", "five_crop", "dense")
CORNERS = ((6, 6), (0, 0), (0, 12), (12, 0), (12, 12))
SOURCES = ["torchvision:resnet18", "timm:resnet18"]
CROSS_FITTED = "torchvision:resnet18"
"""The one whose package is calibrated: every fold trains and exports another network."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn_dataset(tmp_path_factory.mktemp("drawn") / "data", train=24, val=2)


def weights_file(source: str, folder: Path) -> Path:
    """Random weights for 5 classes, as another program would save them."""
    torch.manual_seed(0)
    if source.startswith("timm"):
        timm: Any = pytest.importorskip("timm", reason="pip install 'quincunx[timm]'")
        network = timm.create_model("resnet18", num_classes=5)
    else:
        from torchvision import models

        network = models.get_model("resnet18", weights=None, num_classes=5)
    save_model(network, str(folder / "weights.safetensors"))
    return folder / "weights.safetensors"


def invoked(*command: object) -> str:
    done = CliRunner().invoke(cli.app, [str(part) for part in command])
    assert done.exit_code == 0, done.stderr
    return done.stderr


def train_command(source: str, data: Path, out: Path, weights: object) -> list[object]:
    folds = 2 if source == CROSS_FITTED else 0
    values = [*SET, f"calibration_folds={folds}"]
    sets = [part for value in values for part in ("--set", value)]
    command = ["train", data, "--backbone", source, "--weights", weights, "--out", out]
    return [*command, "--run", f"{out}-run", *sets]


@pytest.mark.parametrize("source", SOURCES)
def test_a_backbone_is_trained_and_the_package_answers_as_it_does(
    source: str, data: Path, tmp_path: Path
) -> None:
    out, run = tmp_path / "model", tmp_path / "model-run"
    said = invoked(*train_command(source, data, out, weights_file(source, tmp_path)))
    assert "these begin at random: fc.weight, fc.bias" in said
    assert f"quincunx serve {out}" in said
    package = ModelPackage.load(out)
    manifest = package.manifest
    assert manifest.architecture["name"] == source
    assert manifest.graph.kind == "class_map"
    assert (manifest.input.crop_px, manifest.input.resize_px) == (SIDE_PX, 76)
    assert manifest.input.interpolation == ("bicubic" if "timm" in source else "bilinear")
    assert manifest.provenance["started_from"]["weights"] == "weights.safetensors"
    assert len(manifest.provenance["history"]) == 2  # one frozen, one not
    assert {file.precision for file in manifest.files} == {"fp32", "int8"}
    assert bool(manifest.calibration) == (source == CROSS_FITTED)
    photo = coloured("red", 76, 76, 7)
    for one in answers_of(out, photo):
        assert sum(one.values()) == pytest.approx(1, abs=1e-5)
    # Without a calibration there is no temperature, so answers are those of the network itself.
    invoked("export", run, "--data", data, "--out", tmp_path / "plain", "--no-int8")
    none, five_crop, dense = answers_of(tmp_path / "plain", photo)
    crops = [photo[y : y + SIDE_PX, x : x + SIDE_PX] for y, x in CORNERS]
    expected = trained(run, manifest, np.stack(crops))
    assert [none[label.id] for label in manifest.labels] == pytest.approx(expected[0], abs=2e-4)
    mean = expected.mean(0)
    assert [five_crop[label.id] for label in manifest.labels] == pytest.approx(mean, abs=2e-4)
    assert sum(dense.values()) == pytest.approx(1, abs=1e-5)


def answers_of(package: Path, photo: np.ndarray) -> list[dict[str, float]]:
    """The probabilities in modes none, five_crop and dense."""
    predictor = Predictor.from_package(package, precision="fp32", provider="cpu", threads=1)
    return [
        {one.id: one.probability for one in predictor.classify([photo], mode)[0].top}
        for mode in MODES
    ]


def trained(run: Path, manifest: Manifest, crops: np.ndarray) -> np.ndarray:
    """The probabilities of the network in torch, for uint8[N, H, W, 3]."""
    state = checkpoint.load(run)
    network = architecture.build(Recipe.from_json(state.facts["recipe"]).architecture, 3).eval()
    network.load_state_dict(state.weights)
    stats = manifest.normalization
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (stats.mean, stats.std))
    planes = torch.from_numpy(crops).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        return network((planes - mean) / std).double().softmax(1).numpy()


def test_resumed_is_as_never_stopped_and_needs_no_weights_file(data: Path, tmp_path: Path) -> None:
    source = "torchvision:resnet18"
    given = weights_file(source, tmp_path)
    backbone = Backbone.named(source)
    chosen = recipe.load(RECIPE, [*backbone.overrides(RECIPE), *SET, "calibration_folds=2"])

    def stop(line: str) -> None:
        if line.startswith("epoch 1/"):
            raise KeyboardInterrupt

    initial = backbone.initial_weights(str(given))
    with pytest.raises(KeyboardInterrupt):
        train(data, chosen, tmp_path / "model-run", initial=initial, log=stop)
    straight = tmp_path / "straight"
    train(data, chosen, straight, initial=initial, log=lambda _: None)
    given.unlink()
    invoked(*train_command(source, data, tmp_path / "model", given), "--resume")
    resumed = checkpoint.load(tmp_path / "model-run")
    assert len(resumed.facts["history"]) == 2
    for name, value in checkpoint.load(straight).weights.items():
        assert torch.equal(resumed.weights[name], value), name


def test_what_cannot_begin_is_refused_before_the_training(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*options: str) -> str:
        command = ["train", str(data), "--out", str(tmp_path / "model"), *options]
        done = CliRunner().invoke(cli.app, command)
        assert done.exit_code in (1, 2), done.stderr
        return done.stderr

    resnet = ("--backbone", "torchvision:resnet18")
    assert "it is timm:NAME or torchvision:NAME" in refused("--backbone", "resnet18")
    assert "near: resnet18" in refused("--backbone", "torchvision:resnet1")
    assert "one classifier" in refused("--backbone", "torchvision:googlenet")
    assert "--weights goes with --backbone" in refused("--recipe", "quick", "--weights", "none")
    assert "two ways to begin" in refused(*resnet, "--init", str(tmp_path))
    assert "no such file" in refused(*resnet, "--weights", str(tmp_path / "nothing.pth"))
    assert "does not take images of 32×32 px" in refused(
        "--backbone", "torchvision:vit_b_32", "--weights", "none", "--set", "stage.1.size_px=32"
    )
    by_name = ("--recipe", "quick", "--set", "architecture.name=torchvision:resnet18")
    assert "is trained by quincunx train --backbone" in refused(*by_name)

    from torchvision import models

    get_model = models.get_model

    def offline(name: str, weights: object = None, **options: object) -> object:
        if weights is not None:
            raise OSError("no route to host")
        return get_model(name, weights=None, **options)

    monkeypatch.setattr(models, "get_model", offline)
    assert "Bring them as a file: download https://" in refused(*resnet)
    assert not (tmp_path / "model").exists()
