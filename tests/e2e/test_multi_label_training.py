"""A table of several labels, from training to the served answer; the same labels everywhere."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from service import cli
from service.errors import DataError
from service.inference.predictor import Predictor
from service.package.package import ModelPackage
from tests.support.app import in_process
from tests.support.shapes import shapes
from training import recipe
from training.calibration.calibrate import calibrate
from training.calibration.images import held_out
from training.data.dataset import validation
from training.evaluation.after_training import report_accuracy
from training.export.export import export_package
from training.fit.train import train

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = [
    "architecture.widen=0.25", "batch_images=12", "stage.1.epochs=2", "stage.1.size_px=32",
    "stage.1.grow_at=[]", "stage.1.lr=0.01", "crop_px=32", "resize_px=64", "min_scale=0.7",
    "calibration_share=0.6", "mixer=mixup",
]  # fmt: skip


@pytest.fixture(scope="module", name="table")
def _table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rectangular images of up to three shapes each, or none."""
    return shapes(tmp_path_factory.mktemp("shapes"), train=90, val=20)


@pytest.fixture(scope="module", name="trained")
def _trained(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    lines: list[str] = []
    run = train(table, recipe.load("small-cpu", TINY), folder / "run", log=lines.append)
    assert "3 classes" in lines[0]
    package = export_package(run, folder / "mine", table, int8=False, log=lambda _: None)
    calibrate(package, held_out(ModelPackage.load(package), table), log=lambda _: None)
    return package


def test_the_package_says_its_task_and_has_thresholds(trained: Path) -> None:
    manifest = ModelPackage.load(trained).manifest
    assert manifest.task == "multi_label"
    assert manifest.adaptive is None
    assert [label.id for label in manifest.labels] == ["bar", "disc", "square"]
    assert {entry.mode for entry in manifest.calibration} == {
        "none", "five_crop", "ten_crop", "dense", "centre_dense",
    }  # fmt: skip
    for entry in manifest.calibration:
        several = entry.mode != "none"
        assert entry.reference is not None
        assert set(entry.thresholds) >= {"mean", "max", "gmean", "logit_mean"}
        assert ("weighted" in entry.thresholds) == several
        assert all(0 < value < 1 for value in entry.thresholds["max"])
    card = (trained / "MODEL_CARD.md").read_text()
    assert "multi-label classifier" in card


def test_evaluation_is_recorded_and_reported(trained: Path, table: Path, tmp_path: Path) -> None:
    arguments = ["evaluate", str(trained), str(table), "--tta", "none,five_crop"]
    report = ["--report", str(tmp_path / "report"), "--record", "--json"]
    done = CliRunner().invoke(cli.app, [*arguments, *report])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    assert [(row["mode"], row["images"]) for row in rows] == [("none", 20), ("five_crop", 20)]
    for row in rows:
        low, high = row["map_interval"]
        assert 0 <= low <= row["map"] <= high <= 1
        assert set(row["average_precision"]) == {"bar", "disc", "square"}
    assert rows[0]["against_single"] is None
    compared = rows[1]["against_single"]
    assert compared["difference"] == pytest.approx(rows[1]["map"] - rows[0]["map"], abs=2e-6)
    assert compared["interval"][0] <= compared["difference"] <= compared["interval"][1]
    text = (tmp_path / "report" / "report.md").read_text()
    assert "| bar | " in text
    assert (tmp_path / "report" / "reliability.png").stat().st_size > 1000
    card = (trained / "MODEL_CARD.md").read_text()
    assert "mean average precision (95% interval)" in card
    low, high = (100 * end for end in compared["interval"])
    difference = f"{100 * compared['difference']:+.2f} ({low:+.2f} to {high:+.2f})"
    assert (
        f"| {rows[1]['precision']} | five_crop | {rows[1]['precision']} none | {difference} |"
        in card
    )
    boxes = ["--tta", "custom", "--box", "0,0,1,1", "--box", "0,0,1,1,flip", "--json"]
    done = CliRunner().invoke(cli.app, ["evaluate", str(trained), str(table), *boxes])
    assert {row["cost"] for row in json.loads(done.stdout)} == {2.0}
    # What needs one true class says so.
    for extra in (["--coverage", "0.9"], ["--tta", "adaptive"]):
        refused = CliRunner().invoke(cli.app, [*arguments, *extra])
        assert refused.exit_code == 2
        assert "multi-label" in refused.stderr


@pytest.mark.parametrize("option", ["--adaptive-cost", "--max-adaptive-cost"])
def test_it_has_no_adaptive_mode_to_limit(trained: Path, table: Path, option: str) -> None:
    refused = CliRunner().invoke(cli.app, ["calibrate", str(trained), str(table), option, "1.2"])
    assert refused.exit_code == 2
    assert "multi-label" in refused.stderr


def test_training_ends_with_the_mean_average_precision(trained: Path, table: Path) -> None:
    lines: list[str] = []
    report_accuracy(trained, table, lines.append)
    assert lines[-1].startswith("mean average precision on 20 validation images: ")


@pytest.mark.parametrize("aggregate", ["mean", "max", "weighted"])
async def test_the_served_labels_are_those_of_the_library(
    trained: Path, table: Path, aggregate: str
) -> None:
    files = [item.path.read_bytes() for item in validation(table)[:6]]
    predictor = Predictor.from_package(trained, provider="cpu", threads=1)
    expected = predictor.classify(files, "five_crop", aggregate=aggregate)  # type: ignore[arg-type]

    async with in_process(trained) as running:
        query = {"tta": "five_crop", "aggregate": aggregate}
        images = [("images", (f"{n}", data)) for n, data in enumerate(files)]
        response = await running.client.post("/classify_batch", params=query, files=images)
    for got, wanted in zip(response.json()["results"], expected, strict=True):
        assert wanted.labels is not None
        assert [label["label"] for label in got["labels"]] == [one.id for one in wanted.labels]
        probabilities = [one["probability"] for one in got["predictions"]]
        np.testing.assert_allclose(probabilities, [t.probability for t in wanted.top], rtol=1e-5)


def test_a_strange_label_is_refused(trained: Path, table: Path, tmp_path: Path) -> None:
    image = next((table.parent / "images").iterdir())
    other = tmp_path / "other.csv"
    other.write_text(f"path,label\n{image},bar;star\n")
    done = CliRunner().invoke(cli.app, ["evaluate", str(trained), str(other)])
    assert done.exit_code == 1
    assert "no class 'star'; its classes: bar, disc, square" in done.stderr
    with pytest.raises(DataError, match="is not the data set that mine was trained on"):
        held_out(ModelPackage.load(trained), other)


def test_a_frontier_is_refused(trained: Path, table: Path) -> None:
    done = CliRunner().invoke(cli.app, ["frontier", str(trained), str(table)])
    assert done.exit_code == 2
    assert "is multi-label; quincunx evaluate measures its modes" in done.stderr
