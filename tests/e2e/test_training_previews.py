"""What is looked at before training: the batch as a picture, and the learning-rate range test."""

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from service import cli
from training import recipe
from training.previews.sample_batch import describe, sample_batch

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = [
    "architecture.widen=0.25", "batch_images=12", "stage.1.size_px=32", "stage.1.grow_at=[]",
    "crop_px=32", "resize_px=64",
]  # fmt: skip
SET = [part for value in TINY for part in ("--set", value)]


def test_a_label_says_what_was_mixed() -> None:
    names = ["church", "gas pump"]
    assert describe({0: 0.3, 1: 0.7}, names) == "0.3 church + 0.7 gas pump"
    assert describe({1: 1.0}, names) == "gas pump"
    assert describe({0: 0.98, 1: 0.02}, names) == "church"


def test_pixels_come_back_from_normalization(data: Path) -> None:
    batch = sample_batch(data, recipe.load("small-cpu", TINY), log=lambda _: None)
    assert len(batch.samples) == 12
    colours = {"red": 0, "green": 1, "blue": 2}
    for sample in batch.samples:
        means = sample.pixels.reshape(-1, 3).mean(0)
        assert int(means.argmax()) == colours[sample.label]
        assert means.max() > 150
    # The network gets them centred.
    assert abs(batch.mean) < 0.3
    assert 0.7 < batch.std < 1.3


def test_a_mixed_batch_is_labelled_by_its_shares(data: Path) -> None:
    made = recipe.load("small-cpu", [*TINY, "mixer=mixup"])
    labels = [sample.label for sample in sample_batch(data, made, log=lambda _: None).samples]
    mixed = [label for label in labels if " + " in label]
    assert mixed
    for label in mixed:
        assert sum(float(part.split(" ")[0]) for part in label.split(" + ")) == pytest.approx(1.0)


def test_show_batch_saves_a_picture(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "batch.png"
    arguments = ["show-batch", str(data), "--recipe", "small-cpu", "--out", str(out), *SET]
    result = CliRunner().invoke(cli.app, arguments)
    assert (result.exit_code, result.stdout) == (0, f"{out}\n"), result.output
    with Image.open(out) as picture:
        assert picture.width > picture.height > 300  # 4 × 3 images


def test_lr_find_suggests_rates_and_saves_the_curve(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "plots" / "lr.png"
    arguments = ["lr-find", str(data), "--recipe", "small-cpu", "--out", str(out), *SET]
    result = CliRunner().invoke(cli.app, [*arguments, "--steps", "40", "--json"])
    assert result.exit_code == 0, result.output
    suggestions = json.loads(result.stdout)["suggestions"]
    assert set(suggestions) == {"valley", "minimum", "steep"}
    assert all(1e-7 < rate < 10 for rate in suggestions.values())
    with Image.open(out) as picture:
        assert picture.format == "PNG"


def test_too_few_images_for_a_batch_is_said(data: Path, tmp_path: Path) -> None:
    arguments = ["lr-find", str(data), "--recipe", "small-cpu", "--set", "batch_images=500"]
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 1
    assert (
        "training images are fewer than a batch of 500: add images, or use a smaller batch"
        in result.stderr
    )
