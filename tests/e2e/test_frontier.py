"""`quincunx frontier` on drawn images: every point is measured, and the report says what."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from service.errors import UsageError
from service.inference.engine import Done, step
from service.inference.image.geometry import Size
from service.inference.image.views import as_pixels, size_of
from service.inference.predictor import Predictor
from tests.support.images import COLOURS, coloured, drawn, encoded
from training.commands import frontier as command
from training.evaluation.methods import method_named, methods
from training.frontier.shapes import Shape, rectangle

MODES = ["none", "five_crop", "dense", "adaptive", "custom"]
BOXES = ["0,0,1,1", "0.25,0,0.75,1,flip"]


@pytest.fixture(scope="module", name="out")
def _out(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frontier")
    for index in range(24):
        name = list(COLOURS)[index % 3]
        shown = drawn(90, 120, index) if index % 4 == 0 else coloured(name, 100, 110, index)
        path = folder / "data" / name / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(shown))
    (folder / "data" / "red" / "broken.png").write_bytes(b"broken")
    (folder / "data" / "red" / "notes.txt").write_text("no image")
    (folder / "data" / ".ipynb_checkpoints").mkdir()
    command.frontier(
        package,
        folder / "data",
        tta=",".join(MODES),
        box=BOXES,
        precision="",
        gate_cost="1.2",
        images=0,
        timed_images=20,
        threads=1,
        aspect=1.0,
        out=folder / "report",
        as_json=False,
    )
    return folder / "report"


def test_what_was_not_measured_is_said(out: Path) -> None:
    measured = json.loads((out / "frontier.json").read_text())
    assert (measured["images"], measured["skipped"], measured["hidden"]) == (24, 1, 1)
    assert measured["unreadable"] == 1
    text = (out / "frontier.md").read_text()
    assert "- skipped 1 file (cannot be decoded): " in text
    assert "- skipped 1 file (.txt): " in text


def test_every_candidate_is_measured_at_every_precision(out: Path) -> None:
    points = json.loads((out / "frontier.json").read_text())["points"]
    names = {point["name"] for point in points}
    assert {"single crop", "five_crop", "dense", "adaptive", "adaptive, 1.2 crops"} <= names
    assert {"custom", "full_image", "five_passes", "fastai_tta"} <= names
    assert {point["precision"] for point in points} == {"fp32", "int8"}
    assert len(points) == 2 * len(names)
    for point in points:
        assert point["scores"]["images"] == 24
        assert 0 < point["p50_ms"] <= point["p99_ms"]
        assert point["peak_mib"] > 10
        if point["name"] == "single crop":
            assert point["ratio"]["value"] == 1
            assert point["against_single"] is None
        else:
            compared = point["against_single"]
            assert compared["interval"][0] <= compared["difference"] <= compared["interval"][1]
        if (point["precision"], point["name"]) != ("fp32", "single crop"):
            assert set(point["against_fp32"]) >= {"corrected", "spoiled", "p_value"}


def test_custom_costs_one_crop_for_each_box(out: Path) -> None:
    measured = json.loads((out / "frontier.json").read_text())
    assert [box["flip"] for box in measured["boxes"]] == [False, True]
    assert {p["cost"] for p in measured["points"] if p["name"] == "custom"} == {2.0}


def test_the_report_is_complete_and_has_a_picture(out: Path) -> None:
    text = (out / "frontier.md").read_text()
    assert text.count("| int8 |") == 9
    assert "--box 0.0,0.0,1.0,1.0 --box 0.25,0.0,0.75,1.0,flip" in text
    assert (out / "frontier.png").read_bytes().startswith(b"\x89PNG")
    assert "manifest sha256" in text
    assert "- int8: adaptive trusts its first pass if " in text


def test_the_report_names_the_sizes_that_were_timed(out: Path) -> None:
    assert "time over 20 of them, of 0.01 to 0.01 MP" in (out / "frontier.md").read_text()


def test_drawn_images_can_be_timed_instead(package: Path, out: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        command.app,
        [
            *(str(package), str(out.parent / "data"), "--tta", "none", "--precision", "fp32"),
            *("--timed-images", "20", "--threads", "1", "--image-size", "320x240"),
            *("--out", str(tmp_path)),
        ],
        catch_exceptions=False,
    )
    assert done.exit_code == 0
    text = (tmp_path / "frontier.md").read_text()
    assert "Accuracy over 24 images; time over 20 drawn JPEGs, of 320×240 px" in text
    assert "--timed-images 20 --image-size 320x240" in text
    measured = json.loads((tmp_path / "frontier.json").read_text())
    assert (measured["images"], measured["timed_images"], measured["drawn"]) == (24, 20, True)


def test_a_wrong_size_is_refused_before_anything_is_measured(package: Path, out: Path) -> None:
    with pytest.raises(UsageError, match="WIDTHxHEIGHT"):
        CliRunner().invoke(
            command.app,
            [str(package), str(out), "--image-size", "12MP"],
            catch_exceptions=False,
        )


def test_rectangles_lie_and_stand_around_the_middle(predictor: Predictor) -> None:
    shapes = {rectangle(drawn(90, 90, seed), 1.5).shape[:2] for seed in range(12)}
    assert shapes == {(60, 90), (90, 60)}
    image = drawn(60, 240, seed=1)
    cut = rectangle(image, 2.0)
    left, right = {120: (60, 180), 30: (105, 135)}[cut.shape[1]]
    np.testing.assert_array_equal(cut, image[:, left:right])
    shape = Shape(2.0)
    for one in map(shape.before, methods(predictor, ["none", "dense"], [])):
        views = next(one.start(predictor, drawn(128, 128, seed=2)))
        if one.name == "dense":
            assert sorted(views[0].pixels.shape[:2]) == [96, 192]


def test_a_stretched_image_is_wider_and_whole() -> None:
    black_and_white = np.zeros((60, 60, 3), np.uint8)
    black_and_white[:, 20:] = 255
    assert Shape().of(black_and_white) is black_and_white
    wide = Shape(1.5, stretch=True).of(black_and_white)
    assert size_of(wide) == Size(60, 90)
    assert not as_pixels(wide)[:, :26].any()
    assert (as_pixels(wide)[:, 34:] == 255).all()


def test_stretching_needs_a_ratio_and_the_report_says_it(
    package: Path, out: Path, tmp_path: Path
) -> None:
    data = str(out.parent / "data")
    with pytest.raises(UsageError, match="--stretch needs --aspect"):
        CliRunner().invoke(command.app, [str(package), data, "--stretch"], catch_exceptions=False)
    done = CliRunner().invoke(
        command.app,
        [
            *(str(package), data, "--tta", "none", "--precision", "fp32", "--timed-images", "20"),
            *("--threads", "1", "--aspect", "1.5", "--stretch", "--gate-cost", ""),
            *("--out", str(tmp_path)),
        ],
        catch_exceptions=False,
    )
    assert done.exit_code == 0
    text = (tmp_path / "frontier.md").read_text()
    assert "Every image was stretched first, to 1.5 times its width" in text
    assert "--gate-cost '' --timed-images 20 --aspect 1.5 --stretch" in text


def test_a_peak_is_the_childs_own_and_not_its_parents() -> None:
    large = np.ones(400 << 20, np.uint8)
    code = "from training.frontier.peak_memory import peak_mib; print(peak_mib())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < large.nbytes / 2**20


def test_the_random_baseline_is_the_weighted_mean_of_its_views(predictor: Predictor) -> None:
    image = drawn(100, 130, seed=4)
    baseline = method_named("fastai_tta")

    def run() -> np.ndarray:
        steps = baseline.start(predictor, image)
        views = next(steps)
        assert len(views) == 5
        # Every view says class 2 but the plain one, which says class 0.
        results = [np.array([9, 0, 0], np.float32)] + [np.array([0, 0, 9], np.float32)] * 4
        done = step(steps, results)
        assert isinstance(done, Done)
        return done.answer.probabilities

    first = run()
    np.testing.assert_array_equal(first, run())  # seeded by the image
    temperature = predictor.model.calibration("five_crop").temperature
    # 0.25 of one view and 0.75 of four, before the temperature.
    assert first[2] / first[0] == pytest.approx(3 ** (1 / temperature), rel=0.01)
