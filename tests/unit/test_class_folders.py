"""Class folders are read as scoring reads folders, and nothing is lost without a word."""

import os
import unicodedata
from pathlib import Path

import pytest

from service.errors import DataError
from service.scoring.sources.walk import walk
from tests.support.dataset import drawn_dataset
from tests.support.images import coloured, encoded
from training.data.class_folders import read_class_folders
from training.data.dataset import readable, scan, split, validation
from training.data.item import Item
from training.recipe import Recipe, Stage

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
RECIPE = Recipe(summary="x", stages=(Stage(epochs=1, size_px=64),), calibration_share=0.2)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return drawn_dataset(tmp_path / "data", train=6, val=2)


def classes(folder: Path) -> list[str]:
    return sorted({item.label for item in scan(folder)})


def put(path: Path, data: bytes | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(coloured("red", 40, 48), "JPEG") if data is None else data)
    return path


@pytest.mark.parametrize(
    "name",
    [".ipynb_checkpoints", "@eaDir", "__MACOSX", ".git", "#recycle", ".@__thumb", "lost+found"],
)
def test_hidden_and_system_folders_are_no_classes(data: Path, name: str) -> None:
    before = list(scan(data / "train"))
    put(data / "train" / name / "1-checkpoint.jpg")
    put(data / "train" / "red" / name / "1.jpg")
    put(data / "train" / "red" / "deeper" / name / "2.jpg")
    found = scan(data / "train")
    assert list(found) == before
    assert found.skipped.hidden == 3
    assert found.skipped.files == 0


@pytest.mark.parametrize("name", ["Thumbs.db", "desktop.ini", ".DS_Store", "._1.jpg", "1.jpg~"])
def test_hidden_and_system_files_are_no_images(data: Path, name: str) -> None:
    before = list(scan(data / "train"))
    put(data / "train" / "red" / name)
    put(data / "train" / name)
    assert list(scan(data / "train")) == before


def test_training_takes_what_scoring_takes(data: Path) -> None:
    folder = data / "train" / "red"
    for name in ("a.jfif", "b", "c.JPE", "d.dat", "e.HEIC", "deeper/f.avif"):  # all are JPEGs
        put(folder / name)
    put(folder / "notes.txt", b"no image")
    (folder / "linked").symlink_to(put(data / "elsewhere" / "g.jpg").parent)
    trained = [str(item.path) for item in scan(data / "train") if item.label == "red"]
    assert trained == list(walk(str(folder)))
    assert len(trained) == 6 + 7


def test_files_of_formats_that_are_not_decoded_are_counted(data: Path) -> None:
    put(data / "train" / "red" / "a.heic", HEIC)
    put(data / "train" / "red" / "b.svg", b"<svg/>")
    put(data / "train" / "red" / "c.txt", b"x")
    put(data / "train" / "loose.jpg")
    os.mkfifo(data / "train" / "red" / "pipe.jpg")
    said: list[str] = []
    images = readable(split(data, RECIPE), said.append)
    assert len(images) == 18
    assert images.skipped.files == 5
    path = data / "train"
    assert f"skipped 1 file (.heic): {path}/red/a.heic" in said
    assert f"skipped 1 file (outside of the class folders): {path}/loose.jpg" in said
    assert sum("skipped" in line for line in said) == 5


def test_files_that_are_counted_do_not_move_the_split(data: Path) -> None:
    before = split(data, RECIPE)
    put(data / "train" / "red" / "0.heic", HEIC)
    put(data / "train" / "red" / "0.txt", b"x")
    after = split(data, RECIPE)
    assert (after.train, after.calibration) == (before.train, before.calibration)
    assert after.fingerprint() == before.fingerprint()


def test_a_class_whose_files_all_vanish_is_an_error(data: Path) -> None:
    for path in (data / "train" / "green").iterdir():
        path.rename(path.with_suffix(".heic")).write_bytes(HEIC)
    with pytest.raises(DataError, match=r"no image of 'green' .* skipped 6 files \(\.heic\)"):
        split(data, RECIPE)
    with pytest.raises(DataError, match="'green'"):
        scan(data / "train")


def test_an_empty_class_folder_is_an_error_in_train_and_a_note_in_val(data: Path) -> None:
    (data / "val" / "violet").mkdir()
    put(data / "val" / "violet" / ".DS_Store")
    assert any("'violet'" in note for note in validation(data).notes)
    (data / "train" / "violet").mkdir()
    with pytest.raises(DataError, match=r"no image of 'violet' .* remove the empty folder"):
        split(data, RECIPE)


def test_classes_of_one_part_only_are_said_before_training(data: Path) -> None:
    put(data / "train" / "extra" / "1.jpg")
    put(data / "val" / "unknown" / "1.jpg")
    said: list[str] = []
    readable(split(data, RECIPE), said.append)
    assert any("no image of 'extra'" in line and "val" in line for line in said)
    assert any("no image of 'unknown' to train on" in line for line in said)


def test_valid_is_val(data: Path) -> None:
    reported = validation(data).items
    assert {item.path.parent.parent.name for item in reported} == {"val"}
    (data / "val").rename(data / "valid")
    assert [(i.path.name, i.label) for i in validation(data)] == [
        (i.path.name, i.label) for i in reported
    ]
    (data / "valid" / "red").rename(data / "valid" / "pink")
    assert "'pink' to train on" in " ".join(split(data, RECIPE).notes)
    (data / "val").mkdir()
    with pytest.raises(DataError, match="both val/ and valid/"):
        validation(data)


def test_valid_may_be_a_class(data: Path) -> None:
    (data / "train" / "red").rename(data / "train" / "valid")
    assert "valid" in {item.label for item in validation(data / "train")}


def test_names_in_either_form_of_unicode_are_one_class(data: Path) -> None:
    composed, decomposed = "Zürich", unicodedata.normalize("NFD", "Zürich")
    put(data / "train" / decomposed / "1.jpg")
    put(data / "val" / composed / "1.jpg")
    assert composed in classes(data / "train")
    assert composed in classes(data / "val")
    put(data / "train" / composed / "2.jpg")
    with pytest.raises(DataError, match=r"2 folders in .* are of the class 'Zürich'.*\\u0308"):
        scan(data / "train")


def test_names_that_differ_in_spaces_are_refused_and_one_is_said(data: Path) -> None:
    put(data / "train" / " cat" / "1.jpg")
    found = scan(data / "train")
    assert "cat" in {item.label for item in found}
    assert any("' cat'" in note and "'cat'" in note for note in found.notes)
    put(data / "train" / "cat" / "1.jpg")
    with pytest.raises(DataError, match=r"2 folders in .* are of the class 'cat'"):
        scan(data / "train")


def test_names_that_differ_in_case_are_said(data: Path) -> None:
    put(data / "train" / "Red" / "1.jpg")
    found = scan(data / "train")
    assert {"Red", "red"} <= {item.label for item in found}
    assert any("'Red', 'red'" in note for note in found.notes)


def test_a_class_name_that_is_not_text_is_refused(data: Path) -> None:
    put(Path(os.fsdecode(os.fsencode(data / "train") + b"/caf\xe9/1.jpg")))
    with pytest.raises(DataError, match=r"caf\\\\xe9.* is not text"):
        scan(data / "train")


def test_file_names_that_are_no_text_are_trained_on(data: Path) -> None:
    put(Path(os.fsdecode(os.fsencode(data / "train" / "red") + b"/caf\xe9.jpg")))
    images = readable(split(data, RECIPE), lambda _: None)
    assert len(images) == 19
    assert images.fingerprint()


def test_a_folder_that_cannot_be_listed_is_an_error(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def refused(path: str) -> object:
        if path.endswith("green"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(DataError, match="green cannot be listed: Permission denied"):
        scan(data / "train")


def test_a_folder_without_classes_says_what_it_holds(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=r"no images under .*outside of the class folders"):
        read_class_folders(tmp_path)


def test_names_of_classes_are_no_loose_files(data: Path) -> None:
    put(data / "train" / "labels.json", b"{}")
    assert scan(data / "train").skipped.files == 0


def test_labelled_images_are_a_sequence_of_items(data: Path) -> None:
    found = scan(data / "train")
    assert len(found) == 18
    assert isinstance(found[0], Item)
    assert list(found[:2]) == [found[0], found[1]]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("metadata.csv", r"If .*metadata\.csv is a table of their labels, name it"),
        ("labels.parquet", r"If .*labels\.parquet is a table"),
        ("metadata.jsonl", r"metadata\.jsonl is not read: write the labels into a table"),
        ("notes.txt", r"(?<!table)$"),
    ],
)
@pytest.mark.parametrize("part", ["", "train"])
def test_images_beside_their_table_are_refused_with_a_hint(
    tmp_path: Path, name: str, said: str, part: str
) -> None:
    (tmp_path / part).mkdir(exist_ok=True)
    for file in ("a.png", "b.png", name):
        (tmp_path / part / file).touch()
    with pytest.raises(DataError, match=said):
        split(tmp_path, RECIPE)


def test_a_file_that_is_no_table_is_named_as_a_file(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.touch()
    with pytest.raises(DataError, match=r"t\.jsonl is a file, but .*a table \(\.csv"):
        split(file, RECIPE)
    with pytest.raises(DataError, match=r"t\.jsonl is a file, but "):
        validation(file)
