"""Tables of labelled files: what is read, and what is refused and how."""

import dataclasses
import warnings
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.errors import DataError
from service.package.manifest import Manifest
from tests.support.images import drawn, encoded
from training.data.dataset import split, validation
from training.data.table import read_table
from training.recipe import Recipe, Stage

RECIPE = Recipe(summary="", stages=(Stage(epochs=1, size_px=32),), calibration_share=0.25)


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """Forty small images, all different: ``a00.png`` and so on."""
    (tmp_path / "images").mkdir()
    for number in range(40):
        (tmp_path / "images" / f"a{number:02}.png").write_bytes(encoded(drawn(8, 9, number)))
    return tmp_path


def written(folder: Path, text: str, name: str = "data.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def many(folder: Path, header: str, cells: list[str]) -> Path:
    lines = [f"images/a{number:02}.png,{rest}" for number, rest in enumerate(cells)]
    return written(folder, "\n".join([f"path,{header}", *lines]))


def test_a_csv_with_splits(folder: Path) -> None:
    text = '\ufeffSplit, Path ,label,note\ntrain,images/a00.png,"cat, red",x\n\n'
    table = read_table(written(folder, f"{text}valid,images/a01.png,dog,y\n"))
    assert table.task == "single_label"
    assert [(item.path, item.label) for item in table.train] == [
        (folder / "images" / "a00.png", "cat, red")
    ]
    assert table.val is not None
    assert [item.label for item in table.val] == ["dog"]


def test_a_tsv_and_absolute_paths(folder: Path) -> None:
    text = f"path\tlabel\n{folder}/images/a00.png\tcat\n"
    table = read_table(written(folder, text, "data.tsv"))
    assert table.train[0].path.is_absolute()
    assert table.val is None


@pytest.mark.parametrize("labels", [["cat;dog", ""], [["cat", "dog"], []]])
def test_a_parquet(folder: Path, labels: list[object]) -> None:
    columns = pa.table({"path": ["images/a00.png", "images/a01.png"], "label": labels})
    pq.write_table(columns, folder / "data.parquet")
    table = read_table(folder / "data.parquet")
    assert table.task == "multi_label"
    assert [item.labels for item in table.train] == [("cat", "dog"), ()]


def test_several_labels_make_it_multi_label_and_their_order_does_not_matter(folder: Path) -> None:
    table = read_table(many(folder, "label", ["dog; cat;dog", "", "cat"]))
    assert table.task == "multi_label"
    assert [item.label for item in table.train] == ["cat;dog", "", "cat"]
    # As single labels, when that is asked for, a semicolon is a character like any other.
    one = written(folder, "path,label\nimages/a00.png,a;b\n")
    assert read_table(one, "single_label").train[0].label == "a;b"
    assert read_table(written(folder, "path,label\nimages/a00.png,a\n"), "multi_label").task == (
        "multi_label"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the header must name path and label, perhaps split, but path and label is "),
        ("photo,label\nx,y\n", "path is missing from 'photo, label'"),
        ("path,label\n", "has no rows"),
        ("path,label\nimages/a00.png,cat\nimages/gone.png,cat\n", "line 3: no file "),
        ("path,label\nimages,cat\n", "line 2: no file "),
        ("path,label\n ,cat\n", "line 2: the path is empty"),
        ("path,label\nimages/a00.png\n", "line 2: 1 cells, but the header has 2"),
        ("path,label\nimages/a00.png,cat,train\n", "line 2: 3 cells, but the header has 2"),
        ("path,label\nimages/a00.png,\n", "line 2: the label is empty; if that means"),
        (
            "path,label\nimages/a00.png,cat\nimages/a00.png,dog\n",
            "line 3: images/a00.png is already on line 2",
        ),
        (
            "path,label,split\nimages/a00.png,cat,test\n",
            "line 2: split must be one of train, val, valid, but got 'test'",
        ),
    ],
)
def test_what_is_wrong_is_said_with_file_and_line(folder: Path, text: str, message: str) -> None:
    path = written(folder, text)
    with pytest.raises(DataError) as caught:
        read_table(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def test_what_is_no_table_is_said(folder: Path) -> None:
    (folder / "data.parquet").write_bytes(b"PAR1 not")
    (folder / "data.csv").write_bytes(b"path,label\n\xff\xfe,x\n")
    for name in ("data.parquet", "gone.csv"):
        with pytest.raises(DataError, match=f"{name} cannot be read"):
            read_table(folder / name)
    with pytest.raises(DataError, match=r"data.csv, line 2: no file "):  # a name may hold any bytes
        read_table(folder / "data.csv")
    with pytest.raises(DataError, match="or a name: imagenette"):
        split(folder / "nowhere", RECIPE)


def test_a_split_column_says_what_is_trained_on_and_what_reported_on(folder: Path) -> None:
    cells = [f"{'cat' if n % 2 else 'dog'},{'val' if n >= 32 else 'train'}" for n in range(40)]
    table = many(folder, "label,split", cells)
    images = split(table, RECIPE)
    assert images.classes == ("cat", "dog")
    assert (len(images.train), len(images.calibration)) == (24, 8)
    assert [item.path.name for item in validation(table)] == [f"a{n}.png" for n in range(32, 40)]
    with pytest.raises(DataError, match="no row whose split is val"):
        validation(many(folder, "label,split", ["cat,train", "dog,train"]))
    with pytest.raises(DataError, match="no row whose split is train"):
        split(many(folder, "label,split", ["cat,val"]), RECIPE)


def test_what_is_held_out_does_not_follow_the_seed_of_the_training(folder: Path) -> None:
    table = many(folder, "label", ["cat", "dog"] * 20)
    reseeded = dataclasses.replace(RECIPE, seed=7)
    assert split(table, reseeded) == split(table, RECIPE)
    other = dataclasses.replace(RECIPE, split_seed=7)
    assert split(table, other).calibration != split(table, RECIPE).calibration


def test_without_one_a_fifth_is_held_out_and_reported_on(folder: Path, package: Path) -> None:
    table = many(folder, "label", [("cat", "dog")[n % 2] for n in range(40)])
    images = split(table, RECIPE)
    assert (len(images.train), len(images.calibration)) == (24, 8)
    trained = Manifest.model_validate_json((package / "manifest.json").read_bytes()).model_copy(
        update={
            "provenance": {
                "recipe": RECIPE.to_json(),
                "dataset": {
                    "fingerprint": images.fingerprint(),
                    "training_images": 24,
                    "calibration_images": 8,
                },
            }
        }
    )
    held_out = {item.path for item in validation(table, trained)}
    assert len(held_out) == 8
    assert not held_out & {item.path for item in (*images.train, *images.calibration)}
    # Of another data set, and for another package, every row is there to be reported on.
    assert len(validation(table)) == 40
    assert len(validation(many(folder, "label", ["cat", "dog"]), trained)) == 2


def test_one_class_is_a_warning_that_names_the_other_way(folder: Path) -> None:
    with pytest.warns(UserWarning, match="use a multi-label table of path,label"):
        images = split(many(folder, "label", ["cat"] * 8), RECIPE)
    assert images.classes == ("cat",)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = many(folder, "label", ["cat", ""] * 8)
        recipe = Recipe(summary="", stages=RECIPE.stages, task="multi_label")
        assert split(table, recipe).classes == ("cat",)
