"""Recipe gpu on a CPU: AdamW, EMA, a mix of mixers, a cosine, and crops that grow by share."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from service import cli
from service.errors import UsageError
from service.package.package import ModelPackage
from training import recipe
from training.fit.loop.time_plan import time_plan
from training.fit.train import train
from training.run import checkpoint
from training.run.checkpoint import Checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = [
    "architecture.widen=0.25", "batch_images=8", "stage.1.epochs=4", "stage.1.size_px=32",
    "stage.1.grow_at_share=[[0.5, 64]]", "crop_px=32", "resize_px=64", "calibration_share=0.2",
    "ema.decay=0.9", "statistics_images=20", "checkpoint_epochs=1", "calibration_folds=0",
]  # fmt: skip


def silent(_: str) -> None:
    pass


def stop_after(epoch: int) -> Callable[[str], None]:
    def log(line: str) -> None:
        if line.startswith(f"epoch {epoch}/"):
            raise KeyboardInterrupt

    return log


@pytest.fixture(scope="module")
def straight(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp("runs") / "straight"
    return checkpoint.load(train(data, recipe.load("gpu", TINY), folder, log=silent))


def test_sizes_and_rates_follow_the_share_of_the_run(straight: Checkpoint) -> None:
    history: list[dict[str, Any]] = straight.facts["history"]
    assert [row["size_px"] for row in history] == [32, 32, 64, 64]
    rates = [row["lr"] for row in history]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.1 * 2e-3  # the last step is one before the end of the cosine


def test_the_average_is_saved_and_is_what_the_calibration_loss_is_of(
    data: Path, straight: Checkpoint
) -> None:
    from training.data.dataset import split
    from training.data.stats import ChannelStats
    from training.fit.learner import learner
    from training.fit.loaders import dataloaders

    assert straight.facts["ema_steps"] == 4 * 6
    assert straight.live.keys() <= straight.weights.keys()
    different = [k for k, v in straight.live.items() if not torch.equal(v, straight.weights[k])]
    assert "0.0.weight" in different
    assert "0.1.running_mean" in different
    made = recipe.load("gpu", TINY)
    images = split(data, made)
    stats = ChannelStats.from_json(straight.facts["normalization"])
    learn: Any = learner(made, dataloaders(images, made, 64, stats), len(images.classes), False)
    losses: list[float] = []
    for weights in (straight.weights, straight.weights | straight.live):
        learn.model.load_state_dict(weights)
        losses.append(float(learn.validate()[0]))
    saved = straight.facts["history"][-1]["calibration_loss"]
    assert losses[0] == pytest.approx(saved, rel=1e-4)
    assert losses[1] != pytest.approx(saved, rel=1e-4)


@pytest.mark.parametrize("stopped", [1, 3])
def test_a_resumed_run_ends_with_the_same_average(
    data: Path, straight: Checkpoint, tmp_path: Path, stopped: int
) -> None:
    made = recipe.load("gpu", TINY)
    with pytest.raises(KeyboardInterrupt):
        train(data, made, tmp_path, log=stop_after(stopped))
    assert len(checkpoint.load(tmp_path).facts["history"]) == stopped
    resumed = checkpoint.load(train(data, made, tmp_path, resume=True, log=silent))
    for ours, theirs in ((straight.weights, resumed.weights), (straight.live, resumed.live)):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_checkpoints_are_as_rare_as_the_recipe_says(data: Path, tmp_path: Path) -> None:
    made = recipe.load("gpu", [*TINY, "checkpoint_epochs=3"])
    with pytest.raises(KeyboardInterrupt):
        train(data, made, tmp_path, log=stop_after(2))
    assert not (tmp_path / checkpoint.STATE).exists()
    finished = checkpoint.load(train(data, made, tmp_path, log=silent))
    assert finished.facts["finished"]  # also where the last epoch is not the third of three
    assert len(finished.facts["history"]) == 4


def test_a_run_of_given_minutes_completes_its_schedule(data: Path, tmp_path: Path) -> None:
    made = recipe.load("gpu", TINY)
    with pytest.raises(KeyboardInterrupt):
        train(data, made, tmp_path, minutes=0.25, log=stop_after(1))
    with pytest.raises(UsageError, match=r"began with --minutes 0.25, but got --minutes 2"):
        train(data, made, tmp_path, resume=True, minutes=2, log=silent)
    plan = checkpoint.load(tmp_path).facts["plan"]
    finished = checkpoint.load(train(data, made, tmp_path, resume=True, log=silent))
    done = finished.facts["plan"]
    history = finished.facts["history"]
    assert done["positions"][:2] == plan["positions"]
    assert done["positions"][2] == pytest.approx(
        plan["positions"][1] + (1 - plan["positions"][1]) / (plan["epochs"] - 1)
    )
    assert done["positions"][-1] == 1
    assert done["epochs"] == len(history)
    assert finished.facts["finished"]
    sizes = [row["size_px"] for row in history]
    assert sizes == [32 if position < 0.5 else 64 for position in done["positions"][:-1]]
    # The last step comes just before the end of the cosine. An epoch that is alone has few steps.
    assert history[-1]["lr"] < 0.2 * 2e-3


def test_minutes_need_one_stage_and_a_run_that_began_with_them(
    data: Path, straight: Checkpoint, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="recipes of one stage that is not fine_tune"):
        time_plan(1, recipe.load("progressive"), None, 0)
    with pytest.raises(UsageError, match="began with no --minutes, but got --minutes 3"):
        time_plan(3, recipe.load("gpu", TINY), straight, 0)
    assert time_plan(None, recipe.load("gpu", TINY), straight, 0) is None


def test_compiled_steps_train_and_the_network_itself_is_validated_and_saved(
    data: Path, straight: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compiler itself takes minutes, so a wrapper takes its place."""
    calls: list[bool] = []

    class Wrapped(torch.nn.Module):
        def __init__(self, network: torch.nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            calls.append(self.network.training)
            return self.network(images)

    monkeypatch.setattr(torch, "compile", lambda network, **_: Wrapped(network))
    run = train(data, recipe.load("gpu", TINY), tmp_path, compiled=True, log=silent)
    assert calls == [True] * 4 * 6
    saved = checkpoint.load(run)
    assert all(torch.equal(value, saved.weights[name]) for name, value in straight.weights.items())


def test_the_command_trains_exports_and_measures_statistics(data: Path, tmp_path: Path) -> None:
    overrides = [part for value in TINY for part in ("--set", value)]
    command = ["train", str(data), "--recipe", "gpu", "--out", str(tmp_path / "model")]
    cache = ["--cache", "memory", "--cache-folder", str(tmp_path / "cache")]
    given = [*command, "--run", str(tmp_path / "run"), *overrides, *cache]
    done = CliRunner().invoke(cli.app, given)
    assert done.exit_code == 0, done.stderr
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_text())
    assert manifest["provenance"]["statistics_images"] == 20
    assert manifest["provenance"]["recipe"]["ema"]["decay"] == 0.9
    assert manifest["input"]["crop_px"] == 32
    state = checkpoint.load(tmp_path / "run")
    assert [row["size_px"] for row in state.facts["history"]] == [32, 32, 64, 64]
    assert state.facts["cache"] == {"shorter_px": 109}  # 64 px and a crop of 35% of the area
    assert ModelPackage.load(tmp_path / "model").manifest.name == "model"
