"""Two processes train one network: each on its own share, and one of them writes."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from service.errors import QuincunxError, UsageError
from tests.support.dataset import drawn_dataset
from training.fit import distributed
from training.run import checkpoint
from training.run.tensorboard import TensorBoardLogger

ROOT = Path(__file__).parents[2]
PATIENCE_S = 300
TINY = [
    "architecture.widen=0.25", "batch_images=16", "stage.1.epochs=2", "stage.1.size_px=32",
    "stage.1.grow_at=[[1, 64]]", "crop_px=32", "resize_px=64", "calibration_share=0.2",
]  # fmt: skip
TRAIN = """
import hashlib, json, shutil, sys
from contextlib import nullcontext
from pathlib import Path

import torch

from training import recipe
from training.fit import distributed, loaders
from training.fit import train as fitting
from training.fit.loop import each_epoch
from fastai.vision.all import PILImage  # after training, which prepares torchvision

folder, out, *overrides = sys.argv[1:]
out = Path(out)
load, record, seed_loaders = loaders.load_image, fitting.Run.record, each_epoch.seed_loaders
seen = []

def noted(path: Path, **how) -> PILImage:
    seen.append(f"{path.parent.name}/{path.name}")
    return load(path, **how)

def seeded(*given):
    seen.clear()  # fastai loads a few images when it makes its loaders
    seed_loaders(*given)

def recorded(run, row):
    calibration = {f"{i.path.parent.name}/{i.path.name}" for i in run.images.calibration}
    parameters = [p.detach().numpy().tobytes() for p in run.learn.model.parameters()]
    epochs.append({
        "seen": [name for name in seen if name not in calibration],
        "drawn": torch.rand(1).item(),
        "weights": hashlib.sha256(b"".join(parameters)).hexdigest(),
    })
    record(run, row)
    if distributed.is_main() and row["epoch"] == 1:
        shutil.copytree(out / "straight", out / "stopped")

loaders.load_image, fitting.Run.record, each_epoch.seed_loaders = noted, recorded, seeded
runs = {}
with distributed.joined():
    distributed.joined = nullcontext
    for name in ("straight", "stopped"):
        epochs = runs[name] = []
        fitting.train(Path(folder), recipe.load("small-cpu", overrides), out / name, resume=True)
(out / f"{distributed.process()}.json").write_text(json.dumps(runs))
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn_dataset(tmp_path_factory.mktemp("data"))


def launched(data: Path, out: Path) -> tuple[str, list[dict[str, list[dict[str, Any]]]]]:
    """What two processes said, and what each of them noted of each run's epochs."""
    script = out / "train_two.py"
    script.write_text(TRAIN)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*command, "--nproc-per-node", "2", script, data, out, *TINY],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, [json.loads((out / f"{n}.json").read_text()) for n in (0, 1)]


@pytest.mark.skipif(find_spec("accelerate") is None, reason="the extra [distributed] is missing")
def test_two_processes_train_one_network_on_two_shares(data: Path, tmp_path: Path) -> None:
    said, (one, other) = launched(data, tmp_path)
    for ours, theirs in zip(one["straight"], other["straight"], strict=True):
        assert ours["weights"] == theirs["weights"]
        assert len(ours["seen"]) == len(theirs["seen"]) == 24  # 48 training images
        assert not set(ours["seen"]) & set(theirs["seen"])
        assert ours["drawn"] != theirs["drawn"]  # augmentations of their own
    first, second = one["straight"]
    assert first["weights"] != second["weights"]
    assert first["seen"] != second["seen"]  # shuffled anew
    state = checkpoint.load(tmp_path / "straight")
    assert state.facts["finished"]
    assert not any(name.startswith("module.") for name in state.weights)
    assert said.count("epoch 1/2") == 1  # one process speaks
    assert said.count("epoch 2/2") == 2

    # The run that was stopped after its first epoch went on to the same weights.
    assert said.count("continuing after epoch 1") == 1
    assert [epoch["weights"] for epoch in one["stopped"]] == [second["weights"]]
    assert one["stopped"][0]["seen"] == second["seen"]
    resumed = checkpoint.load(tmp_path / "stopped")
    assert all(bool((resumed.weights[k] == v).all()) for k, v in state.weights.items())


def test_a_batch_that_cannot_be_shared_out_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert distributed.share_of_batch(15) == 15
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert distributed.share_of_batch(64) == 16
    for batch_images in (30, 4):
        with pytest.raises(UsageError, match="a multiple of 4, at least 8"):
            distributed.share_of_batch(batch_images)


def test_missing_extras_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for module in ("fit.distributed", "run.tensorboard"):
        monkeypatch.setattr(f"training.{module}.find_spec", lambda _: None)
    with pytest.raises(QuincunxError, match=r"pip install 'quincunx\[tensorboard\]'"):
        TensorBoardLogger(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(QuincunxError, match=r"quincunx\[distributed\]"), distributed.joined():
        pass
