"""Names for people come from a file beside the data, a small table, or the folder."""

import os
from pathlib import Path

import pytest

from service.errors import DataError
from service.package.labels import distinct_names
from training.data.labels import labels, shared_names


def names(classes: list[str], folder: Path) -> list[str]:
    return [label.name for label in labels(classes, folder)]


def test_the_id_is_the_folder_and_the_index_its_place(tmp_path: Path) -> None:
    made = labels(["ant", "bee"], tmp_path)
    assert [(label.index, label.id, label.name) for label in made] == [
        (0, "ant", "ant"),
        (1, "bee", "bee"),
    ]


def test_imagenette_is_known(tmp_path: Path) -> None:
    assert names(["n01440764", "n03888257"], tmp_path) == ["tench", "parachute"]


def test_labels_json_names_classes(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text('{"n01440764": "Schleie", "x": "unused"}')
    assert names(["n01440764", "zebra"], tmp_path) == ["Schleie", "zebra"]


def test_labels_csv_names_classes(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text('ant,"ant, red"\nbee, honey bee\n\n')
    assert names(["ant", "bee"], tmp_path) == ["ant, red", "honey bee"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("labels.json", "[1]", "object of class folder to name"),
        ("labels.json", '{"ant": 1}', "object of class folder to name"),
        ("labels.json", "{", "cannot be read"),
        ("labels.csv", "ant\n", "two columns"),
        ("labels.csv", "wasp,Wasp\n", "names none of the classes: ant, bee"),
    ],
)
def test_a_broken_file_is_an_error_that_names_it(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        labels(["ant", "bee"], tmp_path)
    assert name in str(caught.value)


def test_several_classes_may_have_one_name_and_stay_apart(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text(
        '{"n02012849": "crane", "n03126707": "crane", "n01440764": "tench"}'
    )
    made = labels(["n01440764", "n02012849", "n03126707"], tmp_path)
    assert [label.name for label in made] == ["tench", "crane", "crane"]
    assert distinct_names(made) == ["tench", "crane (n02012849)", "crane (n03126707)"]
    assert shared_names(made) == [
        "2 classes are called 'crane': n02012849, n03126707; answers have their ids"
    ]
    assert shared_names(made[:2]) == []


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ('{"ant": ""}', "class 'ant': '' cannot be its name"),
        ('{"ant": " "}', "class 'ant': '' cannot be its name"),
        ('{"ant": "%s"}' % ("x" * 501), "cannot be its name: .*at most 500 characters"),
    ],
)
def test_a_name_that_no_manifest_can_hold_is_an_error(
    tmp_path: Path, names: str, message: str
) -> None:
    (tmp_path / "labels.json").write_text(names)
    with pytest.raises(DataError, match=message):
        labels(["ant", "bee"], tmp_path)


def test_a_class_that_no_manifest_can_hold_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"class 'b\\\\xffe': .* cannot be its id"):
        labels(["ant", os.fsdecode(b"b\xffe")], tmp_path)
    with pytest.raises(DataError, match="class ' ': ' ' cannot be its id: it must not be blank"):
        labels(["ant", " "], tmp_path)
    with pytest.raises(DataError, match="two classes are called 'Zürich'"):
        labels(["Zu\u0308rich", "Zürich"], tmp_path)
