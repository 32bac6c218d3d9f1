"""A flat folder of classes is split by content: the same way in every command, and stable."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from service.errors import DataError
from service.package.package import ModelPackage
from tests.support.images import encoded
from tests.support.untrained import write_run
from training.calibration.images import calibration_images, held_out
from training.data.dataset import split, validation
from training.data.flat_folder import chosen_for_reports, is_flat
from training.data.item import Item
from training.evaluation.evaluate import labelled
from training.export.export import export_package
from training.recipe import Recipe, Stage

RECIPE = Recipe(summary="x", stages=(Stage(epochs=1, size_px=64),), calibration_share=0.2)


def picture(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (40, 44, 3), dtype=np.uint8)
    return encoded(pixels)


def flat(folder: Path, each: int = 30, names: tuple[str, ...] = ("cat", "dog", "ähre")) -> Path:
    """A flat folder of different pictures."""
    for offset, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for i in range(each):
            (folder / name / f"{i:03}.png").write_bytes(picture(1000 * offset + i))
    return folder


def parts(data: Path) -> tuple[set[bytes], set[bytes]]:
    """The contents of the files (for training or calibration, for reports)."""
    trained = split(data, RECIPE)
    train = {path.read_bytes() for path in trained.paths()}
    every = {path.read_bytes() for path in data.rglob("*.png")}
    return train, every - train


def test_a_fifth_of_each_class_is_for_reports_and_a_note_says_so(tmp_path: Path) -> None:
    data = flat(tmp_path / "data", each=60)
    images = split(data, RECIPE)
    train = {item.path for item in (*images.train, *images.calibration)}
    for name in ("cat", "dog", "ähre"):
        of_class = {*(data / name).iterdir()} - train
        assert 4 <= len(of_class) <= 24
    assert images.flat
    note = next(note for note in images.notes if "neither train/ nor val/" in note)
    assert f"{180 - len(images)} of its 180 images are used for reports only" in note


def test_no_file_changes_its_part_when_others_come_or_names_change(tmp_path: Path) -> None:
    data = flat(tmp_path / "data")
    train, reported = parts(data)
    shutil.copytree(data, tmp_path / "moved")
    assert parts(tmp_path / "moved") == (train, reported)
    for file in [*data.rglob("*.png")]:
        file.rename(file.with_name(f"renamed-{file.name}"))
    assert parts(data) == (train, reported)
    for i in range(50):
        (data / "cat" / f"more-{i}.png").write_bytes(picture(5000 + i))
    for i in range(10):
        (data / "dog" / f"more-{i}.png").write_bytes(picture(6000 + i))
    train_now, reported_now = parts(data)
    assert train <= train_now
    assert reported <= reported_now


def test_copies_of_a_photo_are_in_the_same_part(tmp_path: Path) -> None:
    data = flat(tmp_path / "data", each=20)
    before = parts(data)
    for file in [*(data / "cat").iterdir()]:
        shutil.copyfile(file, file.with_name(f"copy-{file.name}"))
    assert parts(data)[0] & parts(data)[1] == set()
    assert parts(data) == before


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 15])
def test_small_classes_have_images_in_both_parts(tmp_path: Path, count: int) -> None:
    for seed in range(20):
        items = [Item(tmp_path / f"{seed}-{i}", "a") for i in range(count)]
        chosen = chosen_for_reports(items, 0.2, seed)
        assert (1 if count > 1 else 0) <= len(chosen) <= max(0, min(count - 1, 0.4 * count + 1))
        assert chosen_for_reports(items[::-1], 0.2, seed) == chosen


def test_no_share_keeps_no_image_for_reports(tmp_path: Path) -> None:
    assert chosen_for_reports([Item(tmp_path / "1", "a"), Item(tmp_path / "2", "a")], 0.0, 1) == []


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        ([], r"put the images of each class into .*data/<class>/"),
        (["training/cat", "training/dog", "test/cat"], "look like parts of a data set"),
        (["cat", "dog", "test/cat", "test/dog"], "'test', which look like parts"),
        (["images/cat", "images/dog"], r"name .*data/images instead of"),
    ],
)
def test_what_is_no_folder_of_classes_gets_the_fix(
    tmp_path: Path, folders: list[str], said: str
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for number, name in enumerate(folders):
        (data / name).mkdir(parents=True)
        (data / name / "1.png").write_bytes(picture(number))
    with pytest.raises(DataError, match=said):
        split(data, RECIPE)


def test_test_and_valid_may_be_classes(tmp_path: Path) -> None:
    data = flat(tmp_path / "data", each=5, names=("test", "valid"))
    assert split(data, RECIPE).classes == ("test", "valid")
    assert not is_flat(flat(tmp_path / "parts" / "train", each=2).parent)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(a package that was trained on a flat folder, the folder)."""
    data = flat(tmp_path_factory.mktemp("flat") / "data")
    run = write_run(tmp_path_factory.mktemp("runs") / "flat", data)
    out = tmp_path_factory.mktemp("models") / "flat"
    return export_package(run, out, data, int8=False, log=lambda _: None), data


def test_reports_use_what_was_kept_out_of_training_also_with_new_files(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    package = ModelPackage.load(trained[0])
    data = shutil.copytree(trained[1], tmp_path / "data")
    train, reported = parts(data)
    found = labelled(data, package.manifest)
    assert {item.path.read_bytes() for item in found} == reported
    (data / "cat" / "new.png").write_bytes(picture(7000))
    found = labelled(data, package.manifest)
    assert {item.path.read_bytes() for item in found} & train == set()
    assert len(found) >= len(reported)
    assert len(validation(data)) == 91
    assert "warning" not in " ".join(found.notes)


def test_images_of_the_training_are_known_again(trained: tuple[Path, Path], tmp_path: Path) -> None:
    package = ModelPackage.load(trained[0])
    train = split(trained[1], Recipe.from_json(package.manifest.provenance["recipe"])).train
    other = flat(tmp_path / "other", each=20)
    for file in [*other.rglob("*.png")]:
        file.write_bytes(file.read_bytes() + b"\0")
    said: list[str] = []
    assert len(calibration_images(package, other, said.append)) == 60
    assert "was not trained on these images" in said[-1]
    for number, item in enumerate(train[:6]):
        shutil.copyfile(item.path, other / item.label / f"taken-{number}.png")
    calibration_images(package, other, said.append)
    assert "was trained on 6 of the 66 images" in said[-1]
    assert "too sure of its answers" in said[-1]
    assert "its metrics on them are too good" in labelled(other, package.manifest).notes[-1]


def test_the_calibration_images_are_found_again(trained: tuple[Path, Path]) -> None:
    package = ModelPackage.load(trained[0])
    with pytest.raises(DataError, match=r"\d+ calibration images"):
        held_out(package, trained[1])  # found, and too few


@pytest.mark.parametrize("names", [("cat",), ("cat", "dog"), ("a", "b", "c", "d", "e")])
@pytest.mark.parametrize("each", [2, 4, 7])
@pytest.mark.filterwarnings("ignore:there is only one class")
def test_few_images_hold_one_out_where_the_share_rounds_to_none(
    tmp_path: Path, names: tuple[str, ...], each: int
) -> None:
    data = tmp_path / "data"
    for name in names:
        (data / "train" / name).mkdir(parents=True)
        for number in range(each):
            (data / "train" / name / f"{number}.png").write_bytes(picture(number))
    images = split(data, dataclasses.replace(RECIPE, calibration_share=0.001))
    assert 1 <= len(images.calibration) <= 2
    assert len(images.train) + len(images.calibration) == each * len(names)
    assert not split(data, dataclasses.replace(RECIPE, calibration_share=0.0)).calibration
