"""Training on few images: batches that fit, and no package from a run that learned nothing."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from service import cli
from service.errors import ExportError, TrainingDiverged
from service.package.package import ModelPackage
from tests.support.dataset import drawn_dataset
from training import recipe
from training.cross_fit import networks
from training.data.dataset import split
from training.export.export import export_package
from training.fit.train import train
from training.run import checkpoint
from training.run.checkpoint import Checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = [
    "architecture.widen=0.25", "stage.1.epochs=2", "stage.1.size_px=32", "crop_px=32",
    "resize_px=64", "calibration_share=0.2", "subset_share=1",
]  # fmt: skip


def run_train(data: Path, out: Path, *more: str) -> tuple[int, str]:
    values = [part for value in TINY for part in ("--set", value)]
    command = ["train", str(data), "--recipe", "quick", "--out", str(out)]
    done = CliRunner().invoke(cli.app, [*command, "--run", f"{out}-run", *values, *more])
    return done.exit_code, done.stderr


def test_few_images_are_trained_on_in_small_batches(tmp_path: Path) -> None:
    data = drawn_dataset(tmp_path / "data", train=12, val=1)
    code, said = run_train(data, tmp_path / "model")
    assert code == 0, said
    assert "more networks are trained" not in said  # 36 images are too few for cross-fitting
    assert "batches of 8 images instead of 64: with 30 training images" in said
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_text())
    assert manifest["provenance"]["recipe"]["batch_images"] == 8
    losses = [row["train_loss"] for row in manifest["provenance"]["history"]]
    assert losses[-1] < losses[0]
    assert re.search(r"accuracy on 3 validation images: [\d.]+% \(95% interval", said)
    assert said.splitlines()[-4:] == [
        "next:",
        f"  quincunx classify PHOTO --model {tmp_path / 'model'}",
        f"  quincunx evaluate {tmp_path / 'model'} {data} --report reports/model",
        f"  quincunx serve {tmp_path / 'model'}",
    ]
    # The same command again keeps what it made; resumed, it agrees on the batch.
    # Data without images for reports is trained on too, and the message says what is missing.
    shutil.rmtree(data / "val")
    code, said = run_train(data, tmp_path / "model", "--resume")
    assert code == 0, said
    assert f"accuracy not measured: {data} has no val/" in said
    code, said = run_train(data, tmp_path / "model")
    assert (code, "holds a model package" in said) == (2, True)


def test_few_images_calibrate_a_package_by_cross_fitting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = drawn_dataset(tmp_path / "data", train=18, val=2, side_px=48)
    values = ("--set", "calibration_share=0.05", "--set", "calibration_folds=2")
    original, trained = networks.train, list[int]()

    def killed(*args: Any, **options: Any) -> Path:
        """The second network is stopped before it begins."""
        trained.append(len(options["images"].train))
        if len(trained) == 2:
            raise KeyboardInterrupt
        return original(*args, **options)

    monkeypatch.setattr(networks, "train", killed)
    code, said = run_train(data, tmp_path / "model", *values)
    assert (code, len(trained)) == (130, 2)
    assert "2 more networks are trained" in said
    run = tmp_path / "model-run"
    assert checkpoint.load(run / "folds" / "fold-1" / "run").facts["finished"]
    code, said = run_train(data, tmp_path / "model", *values, "--resume")
    assert code == 0, said
    assert "calibrated on 54 images by cross-fitting: 2 other networks" in said
    assert not (run / "folds").exists()
    manifest = ModelPackage.load(tmp_path / "model").manifest
    assert manifest.provenance["calibration"] == {"images": 54, "networks": 3}
    for precision in ("fp32", "int8"):
        assert manifest.calibration_for(precision, "adaptive").gate is not None
    card = (tmp_path / "model" / "MODEL_CARD.md").read_text()
    assert "2 other networks" in card


def test_without_a_calibration_every_command_still_works(tmp_path: Path) -> None:
    data = drawn_dataset(tmp_path / "data", train=12, val=4, side_px=48)
    package = tmp_path / "model"
    code, said = run_train(data, package)
    assert (code, "not calibrated: " in said) == (0, True)
    fp32 = ("--precision", "fp32")  # one of the two takes half the time
    for command in (
        ["evaluate", str(package), str(data)],
        ["frontier", str(package), str(data), "--timed-images", "20", "--threads", "1", *fp32],
        ["bench", "latency", str(package), "--seconds", "0.1", "--min-rounds", "2"],
    ):
        done = CliRunner().invoke(cli.app, command)
        assert done.exit_code == 0, done.output
        assert "without adaptive: model has no gate for it" in done.stderr


def test_a_subset_of_few_images_keeps_enough_to_learn_from(tmp_path: Path) -> None:
    quick = recipe.load("quick")
    assert quick.subset_share == 0.2
    for each, kept in ((20, 57), (100, 160)):
        data = drawn_dataset(tmp_path / str(each), train=each, val=1, side_px=8)
        assert len(split(data, quick).train) == pytest.approx(kept, abs=2)


def test_a_batch_that_no_epoch_fills_is_refused_before_training(tmp_path: Path) -> None:
    data = drawn_dataset(tmp_path / "data", train=12, val=1)
    code, said = run_train(data, tmp_path / "model", "--set", "batch_images=64")
    assert code == 1
    assert "30 training images are fewer than a batch of 64" in said
    assert not (tmp_path / "model").exists()


def test_a_run_that_diverges_ends_and_exports_nothing(data: Path, tmp_path: Path) -> None:
    code, said = run_train(data, tmp_path / "model", "--set", "stage.1.lr=1e30")
    assert code == 1
    assert "loss became nan in epoch 1" in said or "loss became inf in epoch 1" in said
    assert not (tmp_path / "model").exists()
    assert list(tmp_path.glob(".model*")) == []


def test_the_checkpoint_before_a_diverged_epoch_stays(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = checkpoint.save

    def save(folder: Path, state: Checkpoint) -> None:
        original(folder, state)
        for tensor in state.weights.values():  # the network's own, as after a step too large
            if tensor.is_floating_point():
                tensor.fill_(float("nan"))

    monkeypatch.setattr(checkpoint, "save", save)
    with pytest.raises(TrainingDiverged, match=r"^the training loss became nan in epoch 2"):
        train(data, recipe.load("quick", TINY), tmp_path, log=lambda _: None)
    assert [row["epoch"] for row in checkpoint.load(tmp_path).facts["history"]] == [1]


def test_weights_that_are_no_numbers_are_not_exported(
    run_folder: Path, drawn_data: Path, tmp_path: Path
) -> None:
    state = checkpoint.load(run_folder)
    name = next(key for key, value in state.weights.items() if value.is_floating_point())
    broken = {**state.weights, name: torch.full_like(state.weights[name], float("nan"))}
    checkpoint.save(tmp_path / "run", Checkpoint(broken, state.optimizer, state.facts))
    with pytest.raises(ExportError, match=f"diverged: {name} holds"):
        export_package(tmp_path / "run", tmp_path / "model", drawn_data)
    assert not (tmp_path / "model").exists()
