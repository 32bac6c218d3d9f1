"""Training tables in every format: the same rows whatever wrote the file, or an error."""

import unicodedata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather, ipc

from service.errors import DataError
from service.package.labels import class_ids
from service.package.manifest import Manifest
from tests.support.images import drawn, encoded
from training.data.dataset import scan
from training.data.labels import labels
from training.data.table import is_table, read_table

NAMES = [f"images/a{number}.png" for number in range(4)]


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for number, name in enumerate(NAMES):
        (tmp_path / name).write_bytes(encoded(drawn(8, 9, number)))
    return tmp_path


def read(path: Path) -> list[tuple[str, str]]:
    assert is_table(path)
    table = read_table(path)
    assert table.val is None
    return [(item.path.relative_to(path.parent).as_posix(), item.label) for item in table.train]


def parquet(folder: Path, label: Any, name: str = "t.parquet", **more: Any) -> Path:
    path = folder / name
    pq.write_table(pa.table({"path": NAMES[: len(label)], "label": label, **more}), path)
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_separator_encoding_and_line_end(
    folder: Path, separator: str, encoding: str, end: str
) -> None:
    rows = [
        ["PATH", "note", " label"],
        [NAMES[0], "", "é"],
        [f" {NAMES[1]} ", "x", " b "],
        ["", "", ""],
    ]
    text = end.join(separator.join(row) for row in rows)
    path = folder / "t.csv"
    path.write_bytes(text.encode(encoding))
    assert read(path) == [(NAMES[0], "é"), (NAMES[1], "b")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'path,label\n{0},x\n{1},"x\n{2},y\n',
            "line 3: the quote that opens cell 2 is never closed",
        ),
        ('path,label\n{0},"x\n{1},y\n{2},z"\n', "lines 2 to 4: one row spans these lines"),
        ('path,label\n{0},x"\n', "line 2: a quote stands inside the cell"),
        ("path;label\n{0};cat;dog\n", "line 2: 3 cells, but the header has 2"),
        (
            "path,label\n{0},Z\xfcrich\n",
            "line 2: the label 'Z\\\\xfcrich' holds bytes that are not",
        ),
        ("path,label,label\n{0},x,y\n", "several columns 'label' (columns 2, 3)"),
        ("{0}\n{1}\n", "path and label is missing from 'images/a0.png'"),
        ("path,label\n{0},\0\n", "holds NUL bytes"),
    ],
)
def test_damage_is_an_error_with_the_line(folder: Path, text: str, message: str) -> None:
    path = folder / "t.csv"
    path.write_bytes(text.format(*NAMES).encode("latin-1"))
    with pytest.raises(DataError, match=r"t\.csv") as caught:
        read_table(path)
    assert message in str(caught.value)


def test_cells_that_a_spreadsheet_adds_are_no_cells(folder: Path) -> None:
    path = folder / "t.csv"
    path.write_text(f'path;label\r\n{NAMES[0]};"cat;dog";;\r\n{NAMES[1]};cat\r\n;;;\r\n')
    table = read_table(path)
    assert [item.labels for item in table.train] == [("cat", "dog"), ("cat",)]


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (pa.array(["a", "b"], pa.large_string()), ["a", "b"]),
        (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
        (pa.array([b"a", b"b"]), ["a", "b"]),
        (pa.array([3, 10]), ["3", "10"]),
        (pa.array([3.0, 10.0]), ["3", "10"]),
        (pa.array([True, False]), ["True", "False"]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_labels_of_every_type(folder: Path, label: Any, expected: list[str]) -> None:
    assert [found for _, found in read(parquet(folder, label))] == expected


def test_arrow_and_feather_files(folder: Path) -> None:
    made = pa.table({"label": ["a", "b"], "path": pa.array(NAMES[:2]).cast(pa.string_view())})
    with ipc.new_file(str(folder / "t.arrow"), made.schema) as writer:
        writer.write_table(made)
    with ipc.new_stream(str(folder / "s.arrow"), made.schema) as writer:
        writer.write_table(made)
    plain = made.set_column(1, "path", pa.array(NAMES[:2]))
    feather.write_feather(plain, str(folder / "t.feather"))
    for name in ("t.arrow", "s.arrow", "t.feather"):
        assert read(folder / name) == [(NAMES[0], "a"), (NAMES[1], "b")]


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ([0.5, 1.0], "the label 0.5 is not a class: classes are whole numbers or text"),
        (
            [{"x": 1}],
            "the column 'label' must hold text, a whole number or a list of these, but is",
        ),
        ([["a;b"]], "t.parquet: the label 'a;b' in a list contains ';'"),
        ([None], "row 1: the label is empty"),
    ],
)
def test_labels_that_are_no_classes(folder: Path, label: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=r"t\.parquet") as caught:
        read_table(parquet(folder, label))
    assert message in str(caught.value)


def test_labels_that_another_separator_joins_are_said(folder: Path) -> None:
    path = folder / "t.csv"
    path.write_text(f'path;label\n{NAMES[0]};"cat, dog"\n{NAMES[1]};cat\n{NAMES[2]};dog\n')
    with pytest.warns(UserWarning, match="'cat, dog' becomes a class of its own.* write ';'"):
        assert {label for _, label in read(path)} == {"cat, dog", "cat", "dog"}


def test_a_list_of_one_label_is_that_label(folder: Path) -> None:
    path = parquet(folder, [["cat"], ["dog"]])
    table = read_table(path)
    assert (table.task, [item.labels for item in table.train]) == (
        "multi_label", [("cat",), ("dog",)],
    )  # fmt: skip
    assert [item.label for item in read_table(path, "single_label").train] == ["cat", "dog"]
    with pytest.raises(DataError, match=r"row 1: the list holds several labels \(cat;dog\)"):
        read_table(parquet(folder, [["cat", "dog"]]), "single_label")


def test_a_class_label_of_hugging_face_gives_the_names(folder: Path) -> None:
    path = parquet(folder, [1, 0])
    feature = '{"names": ["cat", "dog"], "_type": "ClassLabel"}'
    about = {"huggingface": f'{{"info": {{"features": {{"label": {feature}}}}}}}'}
    pq.write_table(pq.read_table(path).replace_schema_metadata(about), path)
    assert [label for _, label in read(path)] == ["dog", "cat"]


def test_a_folder_of_part_files_and_partitions(folder: Path) -> None:
    table = folder / "t.parquet"
    for number, part in enumerate(("label=cat", "label=dog")):
        (table / part).mkdir(parents=True)
        pq.write_table(pa.table({"path": [NAMES[number]]}), table / part / "part-0.parquet")
        (table / part / ".part-0.parquet.crc").write_bytes(b"crc")
    (table / "_SUCCESS").touch()
    assert read(table) == [(NAMES[0], "cat"), (NAMES[1], "dog")]
    pq.write_table(
        pa.table({"path": [NAMES[2]], "split": ["val"]}), table / "label=cat" / "p1.parquet"
    )
    with pytest.raises(
        DataError, match="some part files have a column split, and others have none"
    ):
        read_table(table)
    (folder / "d.parquet" / "train").mkdir(parents=True)
    assert not is_table(folder / "d.parquet")


def test_part_files_of_text_have_the_columns_of_their_folders(folder: Path) -> None:
    table = folder / "t.csv"
    for number, part in enumerate(("label=cat", "label=gas%20pump")):
        where = table / part / ("split=train" if number else "split=val")
        where.mkdir(parents=True)
        (where / "part-0.csv").write_text(f"path\n{NAMES[number]}\n")
        (where / "part-1.csv").write_text(f'note,path\n"two\nlines",{NAMES[number + 2]}\n')
        (where / ".part-0.csv.crc").write_bytes(b"crc")
    (table / "_SUCCESS").touch()
    assert is_table(table)
    found = read_table(table)
    assert [(item.path.name, item.label) for item in found.train] == [
        ("a1.png", "gas pump"),
        ("a3.png", "gas pump"),
    ]
    assert found.val is not None
    assert [(item.path.name, item.label) for item in found.val] == [
        ("a0.png", "cat"),
        ("a2.png", "cat"),
    ]


@pytest.mark.parametrize("header", ["file_name;label", "label;Filename", "image;note;label"])
def test_a_column_of_paths_has_the_names_that_scoring_knows(folder: Path, header: str) -> None:
    cells = {"label": "cat", "note": "a, b"}
    row = [cells.get(name, NAMES[0]) for name in header.split(";")]
    (folder / "t.csv").write_text(f"{header}\n{';'.join(row)}\n")
    assert read(folder / "t.csv") == [(NAMES[0], "cat")]


def test_the_column_path_comes_before_its_other_names(folder: Path) -> None:
    assert read(parquet(folder, ["cat"], file_name=["gone.png"])) == [(NAMES[0], "cat")]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_a_column_of_the_file_comes_before_its_folder(folder: Path, suffix: str) -> None:
    part = folder / f"t.{suffix}" / "label=cat" / "Label=cow"
    part.mkdir(parents=True)
    if suffix == "parquet":
        pq.write_table(pa.table({"path": [NAMES[0]], "LABEL": ["dog"]}), part / "p.parquet")
    else:
        mark = "\t" if suffix == "tsv" else ","
        (part / f"p.{suffix}").write_text(f"path{mark}LABEL\n{NAMES[0]}{mark}dog\n")
    assert read(part.parents[1]) == [(NAMES[0], "dog")]


def test_composed_and_decomposed_names_are_one_class(folder: Path, package: Path) -> None:
    composed, decomposed = "Zürich", unicodedata.normalize("NFD", "Zürich")
    path = folder / "t.csv"
    path.write_text(f"path,label\n{NAMES[0]},{composed}\n{NAMES[1]},{decomposed}\n")
    assert {label for _, label in read(path)} == {composed}
    (folder / "train" / decomposed).mkdir(parents=True)
    (folder / "train" / decomposed / "1.png").touch()
    assert [item.label for item in scan(folder / "train")] == [composed]
    (folder / "labels.csv").write_text(f"{decomposed};Zurich\n")
    assert [label.name for label in labels([composed], folder)] == ["Zurich"]
    manifest = Manifest.model_validate_json((package / "manifest.json").read_bytes())
    renamed = manifest.labels[0].model_copy(update={"id": decomposed})
    manifest = manifest.model_copy(update={"labels": (renamed, *manifest.labels[1:])})
    assert class_ids([composed, "green", "Green"], manifest) == {
        composed: decomposed, "green": "green", "Green": "green",
    }  # fmt: skip


def test_every_label_that_the_model_lacks_is_named(package: Path) -> None:
    manifest = Manifest.model_validate_json((package / "manifest.json").read_bytes())
    with pytest.raises(DataError) as caught:
        class_ids(["red", "navy", "navy", "mint", "0"], manifest)
    assert str(caught.value) == (
        "tiny has no class '0'; its classes: red, green, blue; all labels that are not among them, "
        "with their numbers of images: 'navy' (2), '0' (1), 'mint' (1)"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('ant,"Ant\nbee,Bee\n', "line 1: the quote that opens cell 2 is never closed"),
        ("ant,Ant\nant,Bee\n", "it names 'ant' twice: 'Ant' and 'Bee'"),
        ("ant,Ant,red\n", "line 1: must have two columns, class folder and name, but has 3 cells"),
    ],
)
def test_labels_csv_is_read_strictly(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DataError) as caught:
        labels(["ant", "bee"], tmp_path)
    assert message in str(caught.value)
    (tmp_path / "labels.json").write_text('{"ant": "A", "ant": "B"}')
    with pytest.raises(DataError, match="it names 'ant' twice"):
        labels(["ant", "bee"], tmp_path)
