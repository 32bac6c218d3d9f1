"""Names for people come from a file beside the data, a small table, or the folder."""

from pathlib import Path

import pytest

from service.errors import DataError
from training.labels import labels


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
