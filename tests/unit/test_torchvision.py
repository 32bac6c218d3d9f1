"""fastai and torchvision can be imported first, also beside a CPU build of torch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.installed import python_path


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> str:
    return python_path(tmp_path)


def run(code: str, path: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path, **variables},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    "code",
    [
        "from fastai.vision.all import *\nprint(Resize, vision_learner)",
        "import torchvision.transforms.v2\nprint('ready')",
        "import training.torchvision_compat, torchvision\nprint('ready')",
        "import torch, training.torchvision_compat, torchvision\nprint('ready')",
    ],
)
def test_a_fresh_process_imports_them(code: str, path: str) -> None:
    done = run(code, path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip()


def test_without_the_entry_point_the_module_does_the_same(path: str) -> None:
    off = {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
    done = run("import training.torchvision_compat, torchvision\nprint('ready')", path, **off)
    assert done.returncode == 0, done.stderr[-2000:]


def test_builds_that_fit_are_left_alone(path: str) -> None:
    code = """
import torch
import training.torchvision_compat as compat
compat._library = None
compat._extension_loads = lambda folder: 1 / 0
torch.version.cuda = "13.0"
compat.prepare()
torch.version.cuda = None
compat._is_built_for_cuda = lambda folder: False
compat.prepare()
print(compat._library)
"""
    done = run(code, path)
    assert done.stdout == "None\n", done.stderr[-2000:]


def test_a_missing_operator_is_still_an_error(path: str) -> None:
    code = """
import torch, training.torchvision_compat as compat
from torchvision.ops import nms
try:
    kept = nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), 0.5)
    print(compat._library is None and kept.tolist() == [0])
except (NotImplementedError, RuntimeError):
    print(compat._library is not None)
"""
    done = run(code, path)
    assert done.stdout == "True\n", done.stderr[-2000:]
