"""What a person sees of a training: a stop that loses nothing, curves, and words on the data."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from service.errors import DataError, UsageError
from tests.support.dataset import drawn_dataset
from training import recipe
from training.data.dataset import split
from training.fit.train import train
from training.network import architecture
from training.recipe import Architecture
from training.run import checkpoint
from training.run.curves import draw_curves

pytestmark = pytest.mark.usefixtures("one_thread")

PATIENCE_S = 300
TINY = [
    "architecture.widen=0.25", "batch_images=16", "stage.1.epochs=200", "stage.1.size_px=32",
    "stage.1.grow_at=[]", "crop_px=32", "resize_px=64", "calibration_share=0.2",
]  # fmt: skip


def test_ctrl_c_leaves_a_usable_checkpoint(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "service.cli", "train", str(data), "--recipe", "small-cpu"]
    command += ["--out", str(tmp_path / "model"), "--run", str(run), "--threads", "1"]
    command += [part for value in TINY for part in ("--set", value)]
    # Started in the background, a shell has children ignore SIGINT, and they inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        deadline = time.monotonic() + PATIENCE_S
        while not (run / checkpoint.STATE).exists():
            assert process.poll() is None, "the run ended before its first checkpoint"
            assert time.monotonic() < deadline, "no checkpoint"
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert said.rstrip().endswith(f"--resume continues after the last checkpoint in {run}")
    assert not (tmp_path / "model").exists()
    state = checkpoint.load(run)
    assert state.facts["history"]
    assert not state.facts["finished"]
    network = architecture.build(recipe.load("small-cpu", TINY).architecture, 3)
    network.load_state_dict(state.weights)


def test_curves_are_drawn_after_every_epoch(data: Path, tmp_path: Path) -> None:
    made = recipe.load("small-cpu", [*TINY, "stage.1.epochs=1"])
    train(data, made, tmp_path, log=lambda _: None)
    with Image.open(tmp_path / "history.png") as one:
        assert one.format == "PNG"
        single = one.convert("L").tobytes()
    row = checkpoint.load(tmp_path).facts["history"][0]
    draw_curves([row, row | {"epoch": 2, "size_px": 64}], tmp_path / "two.png")
    with Image.open(tmp_path / "two.png") as two:
        assert two.convert("L").tobytes() != single


def test_unreadable_images_are_counted_at_the_end(tmp_path: Path) -> None:
    data = drawn_dataset(tmp_path / "data")
    for name in ("red/000.png", "blue/003.png"):
        (data / "train" / name).write_bytes(b"no image")
    lines: list[str] = []
    made = recipe.load("small-cpu", [*TINY, "stage.1.epochs=1"])
    train(data, made, tmp_path / "run", log=lines.append)
    assert sum(line.startswith("left out ") for line in lines) == 2
    assert lines[-1] == "trained without 2 unreadable images, named above"


def test_imbalance_is_warned_of(tmp_path: Path) -> None:
    data = drawn_dataset(tmp_path, train=12, val=1)
    for path in sorted((data / "train" / "blue").iterdir())[1:]:
        path.unlink()
    with pytest.warns(UserWarning, match="imbalanced: '(red|green)' has 12 images, 'blue' 1"):
        split(data, recipe.load("small-cpu", TINY))


def test_holding_no_image_out_is_refused(tmp_path: Path) -> None:
    data = drawn_dataset(tmp_path / "data", train=6, val=1)
    made = recipe.load("small-cpu", [*TINY, "calibration_share=0", "stage.1.epochs=1"])
    with pytest.raises(DataError, match=r"calibration_share=0\.0 rounds to 0 of 18 images"):
        train(data, made, tmp_path / "run", log=lambda _: None)


@pytest.mark.parametrize("share", [0.05, 0.9])
def test_one_image_a_class_is_refused_with_the_reason(tmp_path: Path, share: float) -> None:
    data = drawn_dataset(tmp_path / "data", train=1, val=1)
    made = recipe.load("small-cpu", [*TINY, f"calibration_share={share}", "stage.1.epochs=1"])
    with pytest.raises(DataError, match="3 training images of 3 classes are too few"):
        train(data, made, tmp_path / "run", log=lambda _: None)


@pytest.mark.parametrize("name", ["xresnet18", "xresnet34_deep", "xse_resnext50"])
def test_networks_of_any_depth_and_width(name: str) -> None:
    for widen in (0.25, 0.5):
        network = architecture.build(Architecture(name, act="mish", widen=widen), 7).eval()
        with torch.inference_mode():
            assert network(torch.zeros(2, 3, 32, 64)).shape == (2, 7)
    with pytest.raises(UsageError, match="no architecture 'resnet18'; there are: xresnet18"):
        architecture.build(Architecture("resnet18"), 7)


def test_too_few_images_to_calibrate_on_are_said_before_training(tmp_path: Path) -> None:
    data = drawn_dataset(tmp_path / "data", train=40, val=1)
    made = recipe.load("small-cpu", [*TINY, "stage.1.epochs=1", "calibration_share=0.1"])
    lines: list[str] = []
    train(data, made, tmp_path / "run", log=lines.append)
    assert lines[0].startswith("12 images are held out, but calibration needs 50")
    assert "3 more networks are trained" in lines[0]
    assert "--set calibration_share=0.46 holds out enough" in lines[0]
    made = recipe.load("small-cpu", [*TINY, "stage.1.epochs=1", "calibration_folds=0"])
    lines.clear()
    train(data, made, tmp_path / "other", log=lines.append)
    assert "will not have the mode adaptive: --set calibration" in lines[0]
