"""`quincunx average`: the mean of two runs is a run that exports like any other."""

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from service.errors import UsageError
from service.package.package import ModelPackage
from tests.support.dataset import drawn_dataset
from training import recipe
from training.commands.average import app
from training.data.content.sketch import trained_on
from training.data.dataset import split
from training.export.export import export_package
from training.fit.average import average, mean
from training.fit.train import train
from training.network.initial_weights import read_initial_weights
from training.run import checkpoint

TINY = [
    "architecture.widen=0.25", "batch_images=16", "crop_px=32", "resize_px=64",
    "stage.1.epochs=1", "stage.1.size_px=32", "calibration_share=0.2",
]  # fmt: skip


@pytest.fixture(scope="module", name="work")
def _work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, a run, and a run that went on from it."""
    folder = tmp_path_factory.mktemp("average")
    data = drawn_dataset(folder / "data")
    torch.set_num_threads(1)
    first = recipe.load("small-cpu", [*TINY, "stage.1.grow_at=[]"])
    train(data, first, folder / "first", log=lambda _: None)
    sizes = ["batch_sizes_px=[32,64]", "stage.1.grow_at=[]"]
    second = recipe.load("multi-scale", [*TINY, *sizes])
    initial = read_initial_weights(folder / "first")
    train(data, second, folder / "second", initial=initial, log=lambda _: None)
    return folder


def test_the_mean_is_of_every_weight_and_the_statistics_are_new(work: Path) -> None:
    runs = [work / "first", work / "second"]
    arguments = [*map(str, runs), "--out", str(work / "mean"), "--data", str(work / "data")]
    done = CliRunner().invoke(app, [*arguments, "--images", "32"])
    assert done.exit_code == 0, done.output
    one, other, got = (checkpoint.load(work / name) for name in ("first", "second", "mean"))
    for key, value in got.weights.items():
        if "running_" in key or key.endswith("num_batches_tracked"):
            continue
        expected = (one.weights[key] + other.weights[key]) / 2
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
    changed = [key for key in got.weights if key.endswith("running_mean")]
    assert any(not torch.equal(got.weights[key], other.weights[key]) for key in changed)
    averaged = got.facts["averaged"]
    assert [run["name"] for run in averaged["runs"]] == ["first", "second"]
    assert 0 <= averaged["calibration_accuracy"] <= 1


def test_the_package_says_what_it_is_the_mean_of(work: Path) -> None:
    run = average([work / "first", work / "second"], work / "data", work / "run", images=32)
    package = work / "models" / "mean"
    export_package(run, package, work / "data", int8=False, log=lambda _: None)
    provenance = ModelPackage.load(package).manifest.provenance
    assert len(provenance["averaged"]["runs"]) == 2
    assert "mean of the runs `first` (1 epochs)" in (package / "MODEL_CARD.md").read_text()


def test_means_that_mean_nothing_are_refused(work: Path, tmp_path: Path) -> None:
    first, second, data = work / "first", work / "second", work / "data"
    with pytest.raises(UsageError, match="at least two runs"):
        average([first], data, tmp_path / "out")
    with pytest.raises(UsageError, match="holds a run"):
        average([first, second], data, second)
    state = checkpoint.load(first)
    other = {**state.facts, "classes": ["a", "b"]}
    checkpoint.save(tmp_path / "other", checkpoint.Checkpoint(state.weights, {}, other))
    with pytest.raises(UsageError, match="differ in their classes"):
        average([tmp_path / "other", second], data, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_runs_that_held_out_other_images_have_no_mean(work: Path, tmp_path: Path) -> None:
    """The mean would be calibrated on images that one of them was trained on."""
    state = checkpoint.load(work / "first")
    recipe_ = {**state.facts["recipe"], "split_seed": 43}
    other = {**state.facts, "recipe": recipe_}
    checkpoint.save(tmp_path / "other", checkpoint.Checkpoint(state.weights, {}, other))
    with pytest.raises(UsageError, match=r"was trained on \d+ of the \d+ images that .* holds out"):
        average([tmp_path / "other", work / "second"], work / "data", tmp_path / "out")


def test_a_run_knows_the_images_of_the_weights_that_it_started_from(work: Path) -> None:
    """Also where the next run holds out images that these weights were trained on."""
    facts = checkpoint.load(work / "second").facts
    own = split(work / "data", recipe.Recipe.from_json(facts["recipe"]))
    before = facts["started_from"]
    assert trained_on(before, [item.path for item in own.train])
    assert not trained_on(before, [item.path for item in own.calibration])
    provenance = {"dataset": {}, "started_from": before}
    assert trained_on(provenance, [item.path for item in own.train])


def test_counts_are_not_averaged() -> None:
    made = mean([{"w": torch.tensor([1.0]), "n": torch.tensor(3)},
                 {"w": torch.tensor([2.0]), "n": torch.tensor(8)}])  # fmt: skip
    assert made["w"].item() == 1.5
    assert made["n"].item() == 8
