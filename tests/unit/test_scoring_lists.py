"""Lists and tables as sources: every row comes out, with an error or not, or all is refused."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import ipc

from service.errors import UsageError
from service.scoring.item import Item
from service.scoring.sources import Columns, expand
from service.scoring.sources.source import KnowsLabels
from tests.support.scoring import write_tar

LABELLED = Columns(label="label")


def items(path: Path, columns: Columns | None = None) -> list[Item]:
    (source,) = expand([str(path)], columns)
    found = list(source.items())
    assert [list(source.items(skip)) for skip in range(len(found) + 2)] == [
        found[skip:] for skip in range(len(found) + 2)
    ]
    assert source.count() in (len(found), None)
    return found


def seen(path: Path, columns: Columns | None = None) -> list[tuple[str, str | None]]:
    found = items(path, columns)
    assert not [item.error for item in found if item.error]
    return [(str(Path(item.path).relative_to(path.parent)), item.label) for item in found]


def written(folder: Path, text: str | bytes, name: str = "list.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", ["list.csv", "list.TSV"])
def test_any_separator_line_end_and_encoding(
    tmp_path: Path, separator: str, end: str, encoding: str, name: str
) -> None:
    rows = [["Path", "label"], ["a.jpg", "é"], ["b c.jpg", ""], ["", ""], ["a.jpg", " x "]]
    text = end.join(separator.join(row) for row in rows)
    path = written(tmp_path, text.encode(encoding), name)
    assert seen(path, LABELLED) == [("a.jpg", "é"), ("b c.jpg", ""), ("a.jpg", "x")]


@pytest.mark.parametrize("first", ["a.jpg", "photos/a", "C:\\a", "s3://bucket/a", "there"])
def test_a_list_without_a_header_loses_no_row(tmp_path: Path, first: str) -> None:
    (tmp_path / "there").touch()
    found = items(written(tmp_path, f'{first}\n"b, c.jpg"\nd, e.jpg'))
    root = "" if "://" in first else f"{tmp_path}/"
    assert [item.path for item in found] == [
        f"{root}{first}", f"{tmp_path}/b, c.jpg", f"{tmp_path}/d, e.jpg",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "list.csv is empty"),
        ("where\na.jpg\n", "has the columns where; which holds the paths"),
        ("a.jpg,tench\nb.jpg,church\n", "its first line seems to be a path, not a header"),
        ("x;y\na.jpg;tench\n", "has the columns x, y; which holds the paths? (--path-column)"),
        ("path,path\na.jpg,b.jpg\n", "several columns 'path' (columns 1, 2)"),
        ('path\na.jpg\n"b.jpg\nc.jpg\n', "line 3: the quote that opens cell 1 is never closed"),
        ('path,x\na.jpg,"y\nb.jpg,z"\n', "lines 2 to 3: one row spans these lines"),
        ("path\na.jpg\nb\0.jpg\n", "holds NUL bytes"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused_before_the_run(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(UsageError, match=r"list\.csv") as caught:
        expand([str(written(tmp_path, text))])
    assert message in str(caught.value)


def test_a_label_that_is_not_utf8_is_refused_and_a_path_is_not(tmp_path: Path) -> None:
    path = written(tmp_path, b"path,label\ncaf\xe9.jpg,x\nb.jpg,Z\xfcrich\n")
    assert len(seen(path)) == 2
    with pytest.raises(UsageError, match=r"list\.csv, line 3: the label .* not UTF-8; save it as"):
        expand([str(path)], LABELLED)


def test_a_named_column_settles_what_the_header_is(tmp_path: Path) -> None:
    path = written(tmp_path, "where;x,y\na.jpg;1,2\n")
    assert seen(path, Columns(path="where")) == [("a.jpg", None)]
    colons = written(tmp_path, "path:label\na.jpg:x\n")
    assert seen(colons, Columns(label="label", separator=":")) == [("a.jpg", "x")]


def test_rows_of_another_length_are_kept_or_are_errors(tmp_path: Path) -> None:
    text = "note,path,label\nx,a.jpg,red,,\nx,b.jpg\nx,c, d.jpg,red\nx\n,,\nx, ,red\n"
    found = items(written(tmp_path, text), LABELLED)
    names = [Path(item.path).name for item in found]
    assert names == ["a.jpg", "b.jpg", "c", "list.csv", "list.csv"]
    assert [item.label for item in found[:2]] == ["red", ""]
    assert [item.error for item in found[:2]] == [None, None]
    told = [item.error or "" for item in found[2:]]
    assert "line 4: 4 cells, but the header has 3; quote a cell that holds" in told[0]
    assert "line 5: the row has no path" in told[1]
    assert "line 7: the row has no path" in told[2]
    # Without a label column only the path counts.
    ragged = written(tmp_path, "path,note\na.jpg,x,y,z\nb.jpg\nc.jpg,\n")
    assert seen(ragged) == [("a.jpg", None), ("b.jpg", None), ("c.jpg", None)]
    # Several labels that nobody quoted look like a row too long.
    several = written(tmp_path, 'path;label\na.jpg;red;blue\nb.jpg;"red;blue"\n')
    broken, whole = items(several, LABELLED)
    assert "line 2: 3 cells, but the header has 2" in (broken.error or "")
    assert (whole.label, whole.error) == ("red;blue", None)


def test_a_text_list_in_utf16_or_ended_by_nul(tmp_path: Path) -> None:
    wide = written(tmp_path, "a.jpg\r\né.jpg\r\n".encode("utf-16"), "wide.txt")
    assert seen(wide) == [("a.jpg", None), ("é.jpg", None)]
    nul = written(tmp_path, b"./a\nb.jpg\0./c.jpg\0", "nul.lst")
    assert [item.path for item in items(nul)] == [f"{tmp_path}/./a\nb.jpg", f"{tmp_path}/./c.jpg"]
    with pytest.raises(UsageError, match=r"lone\.txt looks like UTF-16 without a byte order mark"):
        expand([str(written(tmp_path, "a.jpg\n".encode("utf-16-le"), "lone.txt"))])


def table(folder: Path, columns: dict[str, Any], name: str = "t.parquet") -> Path:
    made = pa.table(columns)
    path = folder / name
    if path.suffix == ".parquet":
        pq.write_table(made, path)
    else:
        with ipc.new_file(str(path), made.schema) as writer:
            writer.write_table(made)
    return path


NAMES: Sequence[str] = ("a.jpg", "b.jpg", "a.jpg")


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow"])
@pytest.mark.parametrize(
    "kind",
    [
        pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(),
        pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.uint32(), pa.large_string()),
    ],
    ids=str,
)  # fmt: skip
def test_every_arrow_type_that_may_hold_paths(tmp_path: Path, name: str, kind: Any) -> None:
    texts = pa.array(NAMES).cast(kind) if not isinstance(kind, pa.DictionaryType) else None
    paths = texts if texts is not None else pa.array(NAMES).dictionary_encode().cast(kind)
    path = table(tmp_path, {"n": [1, 2, 3], "Path": paths, "label": ["x", None, "y"]}, name)
    assert seen(path, LABELLED) == [("a.jpg", "x"), ("b.jpg", ""), ("a.jpg", "y")]


def test_paths_that_are_not_utf8_or_are_missing(tmp_path: Path) -> None:
    path = table(tmp_path, {"path": pa.array([b"caf\xe9.jpg", b"", None, b"a\0b"])})
    found = items(path)
    assert [Path(item.path).name for item in found] == [
        "caf\udce9.jpg", "t.parquet#1", "t.parquet#2", "a\0b",
    ]  # fmt: skip
    assert [item.error for item in found] == [
        None, "DataError: the row has no path", "DataError: the row has no path", None,
    ]  # fmt: skip
    with pytest.raises(OSError, match="NUL byte"):
        found[3].read()


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view()], ids=str)
def test_every_arrow_type_that_may_hold_images(tmp_path: Path, kind: pa.DataType) -> None:
    data = pa.array([b"one", None, b"three"], kind)
    for name in ("t.arrow", "t.parquet"):
        found = items(table(tmp_path, {"img": data, "url": pa.array([b"x", b"y", b"z"])}, name))
        assert [item.data for item in found] == [b"one", None, b"three"]
        assert [item.path for item in found] == ["x", "y", "z"]
        assert found[1].error == "DataError: the row has no image"


def test_images_of_hugging_face_datasets(tmp_path: Path) -> None:
    image = pa.array(
        [{"bytes": b"one", "path": "x.jpg"}, {"bytes": None, "path": "/data/y.jpg"}, None],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    label = '{"names": ["cat", "dog"], "_type": "ClassLabel"}'
    about = f'{{"info": {{"features": {{"label": {label}}}}}}}'
    made = pa.table({"image": image, "label": [1, 0, -1]})
    pq.write_table(made.replace_schema_metadata({"huggingface": about}), tmp_path / "hf.parquet")
    one, two, three = items(tmp_path / "hf.parquet", LABELLED)
    assert (one.path, one.data, one.label) == ("x.jpg", b"one", "dog")
    assert (two.path, two.data, two.label) == ("/data/y.jpg", None, "cat")
    assert (three.label, three.error) == ("", "DataError: the row has no image")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (Columns(path="n"), "the column 'n' (--path-column) is of type int64; paths are text"),
        (Columns(image="path"), "the column 'path' (--image-column) is of type string; images are"),
        (Columns(label="s"), "the column 's' (--label-column) is of type struct<"),
        (Columns(label="nope"), "no column 'nope' (--label-column); it has: n, path, s"),
    ],
)
def test_a_column_of_another_type_is_refused(
    tmp_path: Path, columns: Columns, message: str
) -> None:
    path = table(tmp_path, {"n": [1], "path": ["a.jpg"], "s": [{"x": 1}]})
    with pytest.raises(UsageError) as caught:
        expand([str(path)], columns)
    assert message in str(caught.value)


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    made = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], ["path", "path"])
    pq.write_table(made, tmp_path / "t.parquet")
    with pytest.raises(UsageError, match="several columns 'path'"):
        expand([str(tmp_path / "t.parquet")])


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_folder_of_part_files_as_spark_writes_it(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / f"out{suffix}"
    folder.mkdir()
    (folder / "_SUCCESS").touch()
    for number in range(2):
        name = f"part-0000{number}-c000{suffix}"
        (folder / f".{name}.crc").write_bytes(b"crc\0")
        if suffix == ".csv":
            (folder / name).write_text(f"path,label\nphotos/{number}.jpg,x\n")
        else:
            table(folder, {"path": [f"photos/{number}.jpg"], "label": ["x"]}, name)
    sources = expand([f"{folder}/"], LABELLED)
    found = [item for source in sources for item in source.items()]
    assert [(item.path, item.label) for item in found] == [
        (f"{tmp_path}/photos/0.jpg", "x"), (f"{tmp_path}/photos/1.jpg", "x"),
    ]  # fmt: skip
    unfinished = folder / "_temporary" / "0"
    unfinished.mkdir(parents=True)
    (unfinished / f"part-00002{suffix}").touch()
    with pytest.raises(UsageError, match=r"is not complete: .*_temporary/0/part-00002"):
        expand([str(folder)])
    (tmp_path / "none.parquet").mkdir()
    with pytest.raises(UsageError, match=r"none\.parquet is a folder without part files"):
        expand([str(tmp_path / "none.parquet")])


def test_partitions_give_labels(tmp_path: Path) -> None:
    for label in ("red", "New%20York"):
        folder = tmp_path / "t.parquet" / f"label={label}"
        folder.mkdir(parents=True)
        table(folder, {"path": ["a.jpg"]}, "data_0.parquet")
    sources = expand([str(tmp_path / "t.parquet")], LABELLED)
    assert [item.label for source in sources for item in source.items()] == ["New York", "red"]
    named = [source for source in sources if isinstance(source, KnowsLabels)]
    assert [list(source.true_labels()) for source in named] == [["New York"], ["red"]]


def test_lists_name_their_labels_ahead(tmp_path: Path) -> None:
    csv = written(tmp_path, "path,label\na.jpg,x\nb.jpg,\nc.jpg,x\n")
    parquet = table(tmp_path, {"path": ["a.jpg"], "label": [3.0]})
    (one, two) = expand([str(csv), str(parquet)], LABELLED)
    assert isinstance(one, KnowsLabels)
    assert isinstance(two, KnowsLabels)
    assert list(one.true_labels()) == ["x", "x"]
    assert list(two.true_labels()) == ["3"]
    (plain,) = expand([str(csv)])
    assert isinstance(plain, KnowsLabels)
    assert list(plain.true_labels()) == []


def test_labels_in_webdataset_members(tmp_path: Path) -> None:
    members = [
        ("0.jpg", b"x"), ("0.json", b'{"label": 3.0}'),
        ("1.jpg", b"x"), ("1.json", b'{"label": ["a", "b"]}'), ("1.txt", b"a caption"),
        ("2.jpg", b"x"), ("2.txt", b"a caption"),
        ("3.jpg", b"x"), ("3.json", b'{"label": null}'),
        ("4.jpg", b"x"), ("4.txt", b"a caption"), ("4.cls", b"7"),
    ]  # fmt: skip
    found = items(write_tar(tmp_path / "s.tar", members))
    assert [(item.label, item.may_be_caption) for item in found] == [
        ("3", False), ("a;b", False), ("a caption", True), (None, False), ("7", False),
    ]  # fmt: skip


def test_a_protocol_that_nobody_knows_is_an_error_of_its_row(tmp_path: Path) -> None:
    (one, two) = items(written(tmp_path, "path\nnope://bucket/a.jpg\nb.jpg\n"))
    with pytest.raises(OSError, match=r"nope://bucket/a\.jpg cannot be opened: Protocol not known"):
        one.read()
    assert two.path == f"{tmp_path}/b.jpg"


@pytest.mark.parametrize("special", ["pipe", "/dev/zero"])
def test_a_pipe_or_device_in_a_list_is_an_error_of_its_row(tmp_path: Path, special: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (one, two) = items(written(tmp_path, f"path\n{special}\nb.jpg\n"))
    with pytest.raises(OSError, match="Is a pipe, socket or device, not a file"):
        one.read()  # a pipe without a writer would wait for ever
    assert two.path == f"{tmp_path}/b.jpg"


def test_the_folders_of_part_files_give_a_label_in_text_tables_too(tmp_path: Path) -> None:
    for label in ("cat", "New%20York", "__HIVE_DEFAULT_PARTITION__"):
        (tmp_path / "t.csv" / f"label={label}").mkdir(parents=True)
        (tmp_path / "t.csv" / f"label={label}" / "part-0.csv").write_text("path\na.png\n")
    sources = expand([str(tmp_path / "t.csv")], LABELLED)
    found = [(item.path, item.label) for source in sources for item in source.items()]
    image = str(tmp_path / "a.png")
    assert found == [(image, "New York"), (image, ""), (image, "cat")]
    known = [
        one for source in sources if isinstance(source, KnowsLabels) for one in source.true_labels()
    ]
    assert known == ["New York", "cat"]
    unlabelled = expand([str(tmp_path / "t.csv")])
    assert [item.label for source in unlabelled for item in source.items()] == [None] * 3
