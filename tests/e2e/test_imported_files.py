"""Files of torchvision's networks, exported the usual ways, imported and served over HTTP."""

from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import training.torchvision_compat  # noqa: F401
from service import cli
from service.package.package import ModelPackage
from tests.support.app import in_process
from tests.support.classifiers import exported
from tests.support.images import drawn, encoded

SIDE_PX = 64
MODES = ("none", "five_crop", "ten_crop", "dense", "centre_dense")


def network(name: str) -> nn.Module:
    from torchvision import models

    torch.manual_seed(0)
    return getattr(models, name)(num_classes=7).eval()


@pytest.fixture(scope="module", params=["fixed", "batch", "softmax", "windows"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of a file with one size, with a free batch, with a softmax, or of kind B."""
    root = tmp_path_factory.mktemp(request.param)
    kind = request.param
    made = network("mobilenet_v3_small" if kind == "windows" else "resnet18")
    if kind == "softmax":
        made = nn.Sequential(made, nn.Softmax(1)).eval()
    how = "batch" if kind == "batch" else "fixed"
    path = exported(made, root / "model.onnx", how, side_px=SIDE_PX)
    options = ["--out", str(root / "imported"), "--normalization", "imagenet"]
    options += ["--resize-px", "72", "--interpolation", "bilinear", "--labels", "numbers"]
    done = CliRunner().invoke(cli.app, ["import", str(path), *options])
    assert done.exit_code == 0, done.output
    return root / "imported"


@pytest.mark.anyio
async def test_every_mode_is_answered(folder: Path) -> None:
    manifest = ModelPackage.load(folder).manifest
    expected = "windows" if folder.parent.name.startswith("windows") else "class_map"
    assert (manifest.graph.kind, manifest.graph.stride_px) == (expected, 32)
    image = encoded(drawn(90, 130, 1))
    async with in_process(folder) as running:
        for mode in MODES:
            response = await running.client.post(
                "/classify", params={"tta": mode}, files={"image": ("a.png", image)}
            )
            assert response.status_code == 200, response.text
            assert response.json()["tta_applied"] == mode
            assert len(response.json()["predictions"]) == 5
