"""Which images `quincunx calibrate` uses, and what it says about them."""

import json
import shutil
from pathlib import Path

import pytest

from service.errors import DataError
from service.package.package import ModelPackage
from tests.support.dataset import drawn_dataset
from training.calibration import images as choosing
from training.calibration.images import calibration_images, held_out
from training.data.content.sketch import Sketch


@pytest.fixture(autouse=True)
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "LEAST_CALIBRATION_IMAGES", 6)


def test_the_data_set_of_the_training_gives_its_held_out_images(
    exported: Path, drawn_data: Path
) -> None:
    package, said = ModelPackage.load(exported), list[str]()
    wanted = held_out(package, drawn_data)
    assert len(wanted) == 6
    assert calibration_images(package, drawn_data, said.append) == wanted
    assert calibration_images(package, drawn_data / "train", said.append) == wanted
    assert not said


def test_other_images_are_used_with_a_warning(
    exported: Path, drawn_data: Path, tmp_path: Path
) -> None:
    package, said = ModelPackage.load(exported), list[str]()
    other = drawn_dataset(tmp_path / "other", train=4, val=3)
    with pytest.raises(DataError, match="is not the data set that untrained was trained on"):
        held_out(package, other)
    found = calibration_images(package, other, said.append)
    assert {item.path.parent.parent.name for item in found} == {"val"}
    assert len(found) == 9
    assert any("was not trained on these images" in line for line in said)
    assert any("measure the package on other images" in line for line in said)
    plain = shutil.copytree(other / "train", tmp_path / "plain")
    assert len(calibration_images(package, plain, said.append)) == 12


def test_held_out_images_that_the_first_weights_know_are_a_warning(
    exported: Path, drawn_data: Path, tmp_path: Path
) -> None:
    own = shutil.copytree(exported, tmp_path / "own")
    wanted = [item.path for item in held_out(ModelPackage.load(own), drawn_data)]
    manifest = json.loads((own / "manifest.json").read_text())
    content = {"content": Sketch.of(wanted[:2]).to_json()}
    manifest["provenance"]["started_from"] = {"name": "first", "dataset": content}
    (own / "manifest.json").write_text(json.dumps(manifest))
    for choose in (held_out, calibration_images):
        said: list[str] = []
        assert [item.path for item in choose(ModelPackage.load(own), drawn_data, said.append)]
        (warning,) = said
        assert "or the weights that it started from, was trained on 2 of the 6 images" in warning


def test_without_a_record_of_contents_nothing_is_promised(
    exported: Path, drawn_data: Path, tmp_path: Path
) -> None:
    old = shutil.copytree(exported, tmp_path / "old")
    manifest = json.loads((old / "manifest.json").read_text())
    del manifest["provenance"]["dataset"]["content"]
    (old / "manifest.json").write_text(json.dumps(manifest))
    said: list[str] = []
    other = drawn_dataset(tmp_path / "other", train=4, val=3)
    calibration_images(ModelPackage.load(old), other, said.append)
    assert any("may share images with it" in line for line in said)


def test_too_few_images_are_refused(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "LEAST_CALIBRATION_IMAGES", 50)
    other = drawn_dataset(tmp_path / "other", train=4, val=3)
    with pytest.raises(DataError, match=r"9 calibration images in .*; at least 50 are needed"):
        calibration_images(ModelPackage.load(exported), other)
