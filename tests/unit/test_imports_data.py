"""Imported packages with labelled images: int8, calibration, metrics."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from service.errors import DataError
from service.inference.predictor import Predictor
from service.package.package import ModelPackage
from service.package.verify import verify
from tests.support.classifiers import (
    CHANNELS,
    CLASSES,
    SIDE_PX,
    classifier,
    exported,
    fastai_head,
    imported,
)
from tests.support.dataset import drawn_dataset
from tests.support.images import drawn
from training.calibration.images import calibration_images
from training.commands.calibrate import app as calibrating
from training.commands.import_model import app
from training.data.dataset import validation
from training.imports import finish as finishing
from training.imports.finish import labelled_images
from training.imports.int8 import add_int8


@pytest.fixture(scope="module")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose class is the image's colour, its package, and 60 labelled images."""
    root = tmp_path_factory.mktemp("coloured")
    torch.manual_seed(0)  # the biases are random, and a large one hides a colour
    convolution, second = nn.Conv2d(3, 3, 8, 8), nn.Conv2d(3, 3, 1)
    with torch.no_grad():
        convolution.weight.zero_()
        for channel in range(3):
            convolution.weight[channel, channel] = 1 / 16
        second.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
    ends = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))
    with torch.no_grad():
        ends[2].weight.copy_(torch.eye(3))  # type: ignore[operator]
    path = exported(nn.Sequential(convolution, second, *ends).eval(), root / "model.onnx", "free")
    (root / "names.txt").write_text("red\ngreen\nblue\n")
    imported(path, root / "models" / "colours", labels=str(root / "names.txt"))
    random = np.random.default_rng(0)
    for number in range(60):
        name = ("red", "green", "blue")[number % 3]
        pixels = random.integers(0, 200, (128, 150, 3), dtype=np.uint8)
        pixels[..., number % 3] |= 40
        folder = root / "photos" / name
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return root


def test_an_imported_package_is_calibrated_on_any_labelled_folder(coloured: Path) -> None:
    folder = coloured / "models" / "colours"
    assert not ModelPackage.load(folder).manifest.calibration
    done = CliRunner().invoke(calibrating, [str(folder), str(coloured / "photos")])
    assert done.exit_code == 0, done.output
    assert "calibrated on 60 images" in done.stdout
    assert "it is not known what colours was trained on" in done.stderr
    manifest = verify(folder).manifest
    fitted = {entry.mode for entry in manifest.calibration}
    assert {"none", "five_crop", "dense", "centre_dense", "adaptive"} <= fitted
    (answer,) = Predictor.from_package(folder).classify([drawn(130, 170, 1)], tta="adaptive")
    assert answer.top


def test_too_few_images_do_not_calibrate(coloured: Path) -> None:
    package = ModelPackage.load(coloured / "models" / "colours")
    with pytest.raises(DataError, match="no folder"):
        calibration_images(package, coloured / "elsewhere")
    few = coloured / "few" / "red"
    few.mkdir(parents=True, exist_ok=True)
    for path in sorted((coloured / "photos" / "red").iterdir()):
        (few / path.name).write_bytes(path.read_bytes())
    with pytest.raises(DataError, match="20 calibration images"):
        calibration_images(package, few.parent)


def test_with_data_the_package_is_quantized_calibrated_and_measured(
    coloured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finishing, "LEAST_CALIBRATION_IMAGES", 30)
    folder = coloured / "models" / "complete"
    options = ["--normalization", "imagenet", "--labels", str(coloured / "names.txt")]
    options += ["--crop-px", "96", "--resize-px", "112", "--interpolation", "bilinear"]
    options += ["--data", str(coloured / "photos")]
    done = CliRunner().invoke(app, [str(coloured / "model.onnx"), "--out", str(folder), *options])
    assert done.exit_code == 0, done.output
    manifest = verify(folder).manifest
    assert {file.precision for file in manifest.files} == {"fp32", "int8"}
    assert {entry.precision for entry in manifest.calibration} == {"fp32", "int8"}
    assert {row.images for row in manifest.metrics} == {30}
    assert min(row.top1 for row in manifest.metrics) > 0.9
    assert manifest.provenance["int8"]["against_fp32"]["top1_agreement"] > 0.9
    assert "calibrated on 30 images, measured on 30 others" in done.stderr


def test_an_int8_graph_that_answers_otherwise_is_left_out(coloured: Path) -> None:
    path = coloured / "model.onnx"
    folder = coloured / "models" / "plain"
    imported(path, folder, labels=str(coloured / "names.txt"))
    items = labelled_images(folder, coloured / "photos")
    said: list[str] = []
    assert not add_int8(folder, items[:8], said.append, least=1.1)
    assert "int8 is left out: it names the class of fp32" in said[0]
    assert [file.precision for file in verify(folder).manifest.files] == ["fp32"]
    assert not list(folder.glob("*int8*"))


@pytest.mark.parametrize("name", ["fastai", "flat"])
def test_int8_of_the_other_kinds_keeps_the_contract(name: str, tmp_path: Path) -> None:
    cells = SIDE_PX // 8
    end = (nn.Flatten(), nn.Linear(CHANNELS * cells * cells, CLASSES))
    network = classifier(*(fastai_head() if name == "fastai" else end))
    how = "free" if name == "fastai" else "fixed"
    done = imported(exported(network, tmp_path / "model.onnx", how), tmp_path / name)
    data = drawn_dataset(tmp_path / "data", train=1, val=6, side_px=120)
    items = validation(data).items
    assert add_int8(done.folder, items, lambda _: None)
    kinds = [node.op_type for node in onnx.load(done.folder / "model.int8.onnx").graph.node]
    assert "QuantizeLinear" in kinds
    assert verify(done.folder).precisions == ("fp32", "int8")
