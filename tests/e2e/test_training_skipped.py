"""Every command that reads class folders says what it did not read."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from service import cli
from service.errors import DataError
from tests.support.images import coloured, encoded
from tests.support.tiny import tiny_package

pytestmark = pytest.mark.usefixtures("one_thread")

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
TINY = [
    "architecture.widen=0.25", "batch_images=12", "stage.1.size_px=32", "stage.1.grow_at=[]",
    "crop_px=32", "resize_px=64", "stage.1.epochs=1", "calibration_folds=0",
]  # fmt: skip
SET = [part for value in TINY for part in ("--set", value)]


def run(*arguments: object) -> Any:
    return CliRunner().invoke(cli.app, [str(one) for one in arguments])


@pytest.fixture
def messy(data: Path, tmp_path: Path) -> Path:
    """The data set, with what phones, notebooks and network storage leave in it."""
    folder = shutil.copytree(data, tmp_path / "messy")
    for part in ("train", "val"):
        red = folder / part / "red"
        (red / "a.heic").write_bytes(HEIC)
        (red / "b.heic").write_bytes(HEIC)
        (red / "notes.txt").write_text("no image")
        (red / "broken.png").write_bytes(b"broken")
        (red / "IMG_7").write_bytes(encoded(coloured("red", 40, 48), "JPEG"))
        for hidden in (folder / part / ".ipynb_checkpoints", red / "@eaDir"):
            hidden.mkdir()
            (hidden / "1.jpg").write_bytes(encoded(coloured("red", 40, 48), "JPEG"))
    return folder


def test_evaluate(messy: Path, tmp_path: Path) -> None:
    package = tiny_package(tmp_path / "tiny")
    report = tmp_path / "report"
    common = ["--tta", "none", "--precision", "fp32"]
    ran = run("evaluate", package, messy, *common, "--json", "--report", report)
    assert ran.exit_code == 0, ran.output
    (row,) = json.loads(ran.stdout)
    assert (row["skipped"], row["hidden"], row["unreadable"]) == (3, 2, 1)
    assert row["skipped_by_reason"][".heic"]["files"] == 2
    for text in (ran.stderr, (report / "report.md").read_text()):
        assert "skipped 2 files (.heic)" in text
        assert "skipped 1 file (.txt)" in text
        assert "broken.png" in text
    shutil.rmtree(messy / "val" / "green")
    ran = run("evaluate", package, messy, *common)
    assert "classes of the model without an image: 'green'" in ran.stderr


def test_lr_find(messy: Path, tmp_path: Path) -> None:
    out = tmp_path / "lr.png"
    ran = run(
        "lr-find", messy, "--recipe", "small-cpu", "--out", out, *SET, "--steps", 20, "--json"
    )
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout)["skipped"] == 3
    assert "skipped 2 files (.heic)" in ran.stderr
    assert "broken.png" in ran.stderr


def test_show_batch(messy: Path, tmp_path: Path) -> None:
    out = tmp_path / "batch.png"
    ran = run("show-batch", messy, "--recipe", "small-cpu", "--out", out, *SET)
    assert ran.exit_code == 0, ran.output
    assert "skipped 2 files (.heic)" in ran.stderr
    assert f"left out {messy}/train/red/broken.png" in ran.stderr


def test_a_file_that_breaks_later_is_named(tmp_path: Path) -> None:
    from training.data.pixels import pixels_of

    (tmp_path / "a.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"a\.png: the bytes are no image"):
        pixels_of(tmp_path / "a.png")


def test_train_and_calibrate(messy: Path, tmp_path: Path) -> None:
    out = tmp_path / "package"
    recipe = ["--recipe", "small-cpu", *SET, "--set", "calibration_share=0.4"]
    ran = run("train", messy, *recipe, "--out", out, "--run", tmp_path / "run")
    assert ran.exit_code == 0, ran.output
    assert "skipped 2 files (.heic)" in ran.stderr
    manifest = json.loads((out / "manifest.json").read_text())
    assert [label["id"] for label in manifest["labels"]] == ["blue", "green", "red"]
    assert manifest["provenance"]["dataset"]["skipped_files"] == 3
    assert "3 files of the data set were not images" in (out / "MODEL_CARD.md").read_text()
    ran = run("calibrate", out, messy)
    assert "skipped 2 files (.heic)" in ran.stderr
