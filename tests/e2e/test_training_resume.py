"""A run that is killed and resumed ends with the weights of one that never stopped."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from service.errors import DataError, UsageError
from tests.support.dataset import drawn_dataset
from training import recipe
from training.fit.train import train
from training.run import checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")

PATIENCE_S = 600
TINY = [
    "architecture.widen=0.25", "batch_images=16", "stage.1.epochs=3", "stage.1.size_px=32",
    "stage.1.grow_at=[[2, 64]]", "crop_px=32", "resize_px=64", "calibration_share=0.2",
    "mixer=mixup",
]  # fmt: skip
RUN = """
import sys
from pathlib import Path
import torch

from training import recipe
from training.fit.train import train

data, folder, *overrides = sys.argv[1:]
torch.set_num_threads(1)
train(Path(data), recipe.load("small-cpu", overrides), Path(folder), resume=True)
"""


@pytest.fixture(scope="module")
def straight(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was never stopped."""
    folder = tmp_path_factory.mktemp("runs") / "straight"
    lines: list[str] = []
    train(data, recipe.load("small-cpu", TINY), folder, log=lines.append)
    assert sum(line.startswith("epoch ") for line in lines) == 3
    return folder


def started(data: Path, folder: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(data), str(folder), *TINY],
        stdout=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
    )


def epochs_done(folder: Path) -> int:
    try:
        return len(json.loads((folder / checkpoint.STATE).read_text())["facts"]["history"])
    except FileNotFoundError:
        return 0


def test_killed_and_resumed_is_as_good_as_never_stopped(
    data: Path, straight: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "killed"
    process = started(data, folder)
    deadline = time.monotonic() + PATIENCE_S
    while epochs_done(folder) < 1:
        assert process.poll() is None, "the run ended before its first checkpoint"
        assert time.monotonic() < deadline, "no checkpoint"
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(PATIENCE_S) == -signal.SIGKILL
    assert 1 <= epochs_done(folder) < 3

    train(data, recipe.load("small-cpu", TINY), folder, resume=True, log=lambda _: None)

    one, other = checkpoint.load(straight), checkpoint.load(folder)
    assert one.weights.keys() == other.weights.keys()
    for name, value in one.weights.items():
        assert torch.equal(value, other.weights[name]), name
    rates = [[row["lr"] for row in run.facts["history"]] for run in (one, other)]
    assert rates[0] == rates[1]
    assert other.facts["finished"]


def test_the_history_is_a_table(straight: Path) -> None:
    with (straight / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [row["size_px"] for row in rows] == ["32", "32", "64"]
    assert all(0 <= float(row["calibration_accuracy"]) <= 1 for row in rows)


def test_a_finished_run_resumes_to_itself(data: Path, straight: Path) -> None:
    before = (straight / checkpoint.STATE).read_bytes()
    train(data, recipe.load("small-cpu", TINY), straight, resume=True, log=lambda _: None)
    assert (straight / checkpoint.STATE).read_bytes() == before


def test_a_run_is_not_overwritten_and_not_resumed_as_another(data: Path, straight: Path) -> None:
    with pytest.raises(UsageError, match="continue it with --resume"):
        train(data, recipe.load("small-cpu", TINY), straight)
    other = recipe.load("small-cpu", [*TINY, "label_smoothing=0.2"])
    with pytest.raises(UsageError, match="it differs in label_smoothing"):
        train(data, other, straight, resume=True)


def test_a_resumed_run_needs_its_own_data(straight: Path, tmp_path: Path) -> None:
    changed = drawn_dataset(tmp_path / "changed", train=19)
    with pytest.raises(DataError, match="files were added, removed or changed"):
        train(changed, recipe.load("small-cpu", TINY), straight, resume=True, log=lambda _: None)


def test_unreadable_images_are_named_and_left_out(tmp_path: Path) -> None:
    data = drawn_dataset(tmp_path / "data")
    broken = data / "train" / "red" / "000.png"
    broken.write_bytes(broken.read_bytes()[:200])
    lines: list[str] = []
    made = recipe.load("small-cpu", [*TINY, "stage.1.epochs=1"])
    train(data, made, tmp_path / "run", log=lines.append)
    assert any(line.startswith(f"left out {broken}: ") for line in lines)
    assert checkpoint.load(tmp_path / "run").facts["finished"]


def test_fine_tuning_starts_from_another_run(data: Path, straight: Path, tmp_path: Path) -> None:
    from training.network.initial_weights import read_initial_weights

    tiny = [
        "architecture.widen=0.25", "batch_images=16", "stage.1.epochs=1", "stage.1.size_px=32",
        "crop_px=32", "resize_px=64", "stage.1.lr=0", "calibration_share=0.2",
    ]  # fmt: skip
    made = recipe.load("fine-tune", tiny)
    with pytest.raises(UsageError, match="normalization=init comes with weights"):
        train(data, made, tmp_path / "none", log=lambda _: None)
    lines: list[str] = []
    train(data, made, tmp_path / "tuned", initial=read_initial_weights(straight), log=lines.append)
    assert "started from the given weights" in lines
    one, other = checkpoint.load(straight), checkpoint.load(tmp_path / "tuned")
    # At a learning rate of 0 what was loaded is what is left.
    assert torch.equal(one.weights["0.0.weight"], other.weights["0.0.weight"])
    assert one.facts["normalization"] == other.facts["normalization"]
    assert [row["epoch"] for row in other.facts["history"]] == [1, 2]  # frozen, then free
    assert other.facts["started_from"]["name"] == straight.name
    assert other.facts["started_from"]["epochs"] == len(one.facts["history"])
    # Resumed, it needs no --init again.
    train(data, made, tmp_path / "tuned", resume=True, log=lambda _: None)
    assert checkpoint.load(tmp_path / "tuned").facts["started_from"]["name"] == straight.name

    wrong = recipe.load("fine-tune", [*tiny, "architecture.name=xresnet34"])
    with pytest.raises(UsageError, match="must be that of the recipe"):
        train(
            data,
            wrong,
            tmp_path / "wrong",
            initial=read_initial_weights(straight),
            log=lambda _: None,
        )
