"""Every command and every Python block of docs/import.md runs, on small untrained models."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import training.torchvision_compat  # noqa: F401
from service import cli
from service.package.package import ModelPackage
from tests.support.classifiers import average_linear, classifier, exported
from tests.support.dataset import drawn_dataset
from tests.support.images import COLOURS
from tests.support.shipped import ROOT

PAGE = (ROOT / "docs" / "import.md").read_text()
SIDE_PX = 64
NAMES = [*sorted(COLOURS), "fourth", "fifth"]
CODE = "from tests.support.classifiers import average_linear, classifier as made\n\n\n"
FUNCTION = "def classifier():\n    return made(*average_linear())\n"
COMMANDS = [
    shlex.split(line)
    for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]
PYTHON = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
PREPROCESSOR = {
    "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3,
    "resample": 3,
    "size": {"shortest_edge": SIDE_PX},
    "crop_pct": 0.875,
}


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    """What a reader of the page has."""
    timm: Any = pytest.importorskip("timm", reason="pip install 'quincunx[timm]'")
    from safetensors.torch import save_model
    from torchvision import models

    folder = tmp_path_factory.mktemp("reader")
    save_model(timm.create_model("mobilenetv3_small_100"), str(folder / "weights.safetensors"))
    mobilenet: Any = models.mobilenet_v3_small(weights=None)
    torch.save(mobilenet.state_dict(), folder / "mobilenet.pth")
    (folder / "my_models.py").write_text(CODE + FUNCTION)
    (folder / "names.txt").write_text("\n".join(NAMES))
    exported(classifier(*average_linear()), folder / "model.onnx", side_px=SIDE_PX)
    data = drawn_dataset(folder / "DATA", train=4, val=20)
    _learner(data).export(folder / "learner.pkl")
    return folder


def _learner(data: Path) -> Any:
    from fastai.vision.all import CrossEntropyLossFlat, ImageDataLoaders, Learner, Resize

    dls = ImageDataLoaders.from_folder(
        data, valid="val", bs=4, num_workers=0, item_tfms=Resize(SIDE_PX)
    )
    return Learner(dls, classifier(*average_linear()[:-1], nn.Linear(24, 3)),
                   loss_func=CrossEntropyLossFlat())  # fmt: skip


def _transformers_model(folder: Path) -> None:
    transformers: Any = pytest.importorskip("transformers", reason="pip install 'quincunx[hf]'")
    config = transformers.ResNetConfig(
        embedding_size=16, hidden_sizes=[16, 24], depths=[1, 1], layer_type="basic", num_labels=3
    )
    transformers.ResNetForImageClassification(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))


@pytest.mark.parametrize("command", COMMANDS, ids=[" ".join(one[1:3]) for one in COMMANDS])
def test_every_command_runs(
    folder: Path, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    if "hf:my-classifier" in command:
        _transformers_model(folder / "my-classifier")
    assert command[0] == "quincunx"
    done = CliRunner().invoke(cli.app, command[1:])
    assert done.exit_code == 0, done.output
    named = command[command.index("--out") + 1] if "--out" in command else command[2]
    manifest = ModelPackage.load(folder / named).manifest
    assert bool(manifest.calibration) == (command[1] == "calibrate")


@pytest.mark.parametrize("code", PYTHON)
def test_every_python_block_runs(folder: Path, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    learn = _learner(folder / "DATA")
    exec(code, {"learn": learn, "module": learn.model})  # noqa: S102
    (named,) = re.findall(r'"(models/\w+)"', code)
    manifest = ModelPackage.load(folder / named).manifest
    assert (manifest.input.crop_px, manifest.input.resize_px) == (SIDE_PX, 72)


def test_the_page_shows_every_source() -> None:
    shown = " ".join(part for command in COMMANDS for part in command)
    for source in ("timm:", "torchvision:", "hf:", "python:", ".onnx", ".pkl"):
        assert source in shown
    assert len(PYTHON) == 2
