"""Text of lists and tables: encodings, NUL bytes, separators, quotes, columns."""

import io

import pytest

from service.errors import DataError, UsageError
from service.tabular.columns import PATH_COLUMNS, pick
from service.tabular.delimited import Delimited, Record, read
from service.tabular.partitions import partitions
from service.tabular.swallowed import check_spans
from service.tabular.text import HEAD_BYTES, MAX_PATH_CHARS, paths


class Pipe(io.BytesIO):
    """Hands out one byte at a time, as a slow pipe may."""

    def read1(self, size: int | None = -1, /) -> bytes:
        return super().read(min(1, size or 1))


def listed(data: bytes) -> list[str]:
    return list(paths(io.BytesIO(data), "list.txt"))


def table(text: str | bytes, separator: str | None = None) -> Delimited:
    data = text if isinstance(text, bytes) else text.encode()
    return read(io.BytesIO(data), "t.csv", PATH_COLUMNS, separator)


def rows(text: str | bytes, separator: str | None = None) -> list[list[str]]:
    found = table(text, separator)
    first = [] if found.first is None else [found.first]
    return [record.cells for record in [*first, *found.rest]]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_list_of_paths_in_any_encoding_with_any_line_end(encoding: str, end: str) -> None:
    names = ["a.jpg", "Zürich/ b.jpg ", "\u2028 c\x0b.jpg", "d"]
    text = end.join([*names[:2], "", *names[2:]])
    assert listed(text.encode(encoding)) == names
    assert listed((text + end).encode(encoding)) == names


def test_a_list_may_hold_names_that_are_not_utf8() -> None:
    assert listed(b"caf\xe9.jpg\nb.jpg\n") == ["caf\udce9.jpg", "b.jpg"]


@pytest.mark.parametrize("end", [b"\0", b""])
def test_find_print0_separates_names_by_nul(end: bytes) -> None:
    assert listed(b"./a\nb.jpg\0./caf\xe9.jpg\0\0./c.jpg" + end) == [
        "./a\nb.jpg", "./caf\udce9.jpg", "./c.jpg",
    ]  # fmt: skip
    long = [f"./{number:06}.jpg" for number in range(20_000)]
    assert listed(b"\0".join(name.encode() for name in long) + end) == long


@pytest.mark.parametrize(
    "data",
    [
        b"a.jpg\nb.jpg\n",
        b"\xef\xbb\xbfa.jpg\r\nb.jpg",
        b"a.jpg\0b.jpg\0",
        "a.jpg\nb.jpg\n".encode("utf-16"),
    ],
)
def test_a_slow_pipe_is_read_as_it_comes(data: bytes) -> None:
    assert list(paths(Pipe(data), "standard input")) == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("a.jpg\r\nb.jpg\r\n".encode("utf-16-le"), "UTF-16 without a byte order mark"),
        ("a.jpg\r\nb.jpg\r\n".encode("utf-16-be"), "UTF-16 without a byte order mark"),
        (b"\xff\xfea\0.\0j", "near line 1: this is not UTF-16"),
        (b"a.jpg\n" * HEAD_BYTES + b"b\0c.jpg\n", f"line {HEAD_BYTES + 1}: a NUL byte"),
        (b"PK\x03\x04\x14\0", "an Excel workbook"),
        (b"PAR1\x15\x04", "a Parquet file"),
        (b"\xff\xd8\xff\xe0", "a JPEG image"),
        (b"x" * (MAX_PATH_CHARS + 1), "line 1: over the limit of 65,536 characters"),
        (b"a\0" + b"x" * (MAX_PATH_CHARS + 1), "path 2: over the limit of 65,536 bytes"),
    ],
)
def test_what_is_no_list_is_refused_and_says_how_to_save_it(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=r"list\.txt") as caught:
        listed(data)
    assert message in str(caught.value)
    if "UTF-16" in message:
        assert "Out-File -Encoding utf8" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "separator", "first"),
    [
        ("path,label\n", ",", ["path", "label"]),
        ("path;label\n", ";", ["path", "label"]),
        ("path\tlabel\n", "\t", ["path", "label"]),
        ("label|path\n", "|", ["label", "path"]),
        ('"path";"a, b, c"\n', ";", ["path", "a, b, c"]),
        ("path,a;b;c;d\n", ",", ["path", "a;b;c;d"]),
        ("sep=;\r\npath;a,b,c\r\n", ";", ["path", "a,b,c"]),
        ('"sep=\t"\npath\ta,b,c\n', "\t", ["path", "a,b,c"]),
        ("Path ;x\n", ";", ["Path ", "x"]),
        ("path\na, b.jpg\n", None, ["path"]),
        ("x:path\n", None, ["x:path"]),
        ("\n\npath,x\n", ",", ["path", "x"]),
    ],
)
def test_the_separator_is_told_from_the_header(
    text: str, separator: str | None, first: list[str]
) -> None:
    found = table(text)
    assert found.separator == separator
    assert found.first is not None
    assert found.first.cells == first


def test_a_separator_that_is_named_is_taken() -> None:
    assert rows("path:x,y\na:b,c\n", ":") == [["path", "x,y"], ["a", "b,c"]]
    assert rows("sep=;\npath,x;y\n", ",") == [["path", "x;y"]]


def test_one_column_needs_no_quotes() -> None:
    assert rows('a, b.jpg\n"c, ""d"".jpg"\n\ne.jpg') == [["a", " b.jpg"], ['c, "d".jpg'], ["e.jpg"]]
    assert rows("path\na, b.jpg\n") == [["path"], ["a, b.jpg"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'path,label\na.jpg,x\nb.jpg,"x\nc.jpg,y\n',
            "line 3: the quote that opens cell 2 is never",
        ),
        (
            'path,label\na.jpg,"x\nb.jpg,y\nc.jpg,"z"\n',
            "line 4: 'z\"' follows the closing quote of",
        ),
        ('path,label\na.jpg,"x\nb.jpg,y\nc.jpg,"z"\n', "the cell that opens on line 2"),
        ('path,label\na.jpg,"x" y\n', "line 2: ' y' follows the closing quote;"),
        ('path,label\na.jpg,x"\n', "line 2: a quote stands inside the cell 'x\"'"),
        ('path,label\na.jpg, "x"\n', "line 2: a quote stands inside the cell ' \"x\"'"),
        ('path,"label\n', "line 1: the quote that opens cell 2 is never closed"),
        ("path,label\na.jpg,\0\n", "holds NUL bytes"),
    ],
)
def test_damaged_quotes_are_an_error_with_the_line(text: str, message: str) -> None:
    with pytest.raises(DataError, match=r"^t\.csv") as caught:
        rows(text)
    assert message in str(caught.value)


def test_cells_may_be_long_but_not_endless(monkeypatch: pytest.MonkeyPatch) -> None:
    long = "x" * 500_000  # the csv module refuses more than 131,072
    assert rows(f'path,note\na.jpg,"{long}"\n')[1] == ["a.jpg", long]
    monkeypatch.setattr("service.tabular.delimited.MAX_LINE_CHARS", 1_000)
    monkeypatch.setattr("service.tabular.text.MAX_LINE_CHARS", 1_000)
    with pytest.raises(DataError, match=r"line 2: the quote .* never closed within 1,000 char"):
        rows('path,note\na.jpg,"' + "x\n" * 100_000)
    with pytest.raises(DataError, match="line 2: over the limit of 1,000 characters"):
        rows("path,note\n" + "x" * 2_000)


def test_rows_inside_a_cell_are_suspicious() -> None:
    def check(*cells: str, path_at: int = 0, one_line: tuple[int, ...] = ()) -> None:
        record = Record(3, 3 + sum(cell.count("\n") for cell in cells), list(cells))
        check_spans(record, ",", 3, path_at, one_line, "t.csv")

    check("a.jpg", "x", "a note,\nand more, of it")
    check("new\nline.jpg", "x", "")
    check("a.jpg", "x\ny", "")
    for swallowed in (
        ("a.jpg", "x\nb.jpg,y", "note"),
        ("a.jpg", "x\nb.jpg,y,note\nc.jpg,z", "note"),
        ("a.jpg", "x", "note\nb.jpg,y,note\nc.jpg,y,note"),
        ("a.jpg\nb.JPG", "x", ""),
    ):
        with pytest.raises(DataError, match=r"t\.csv, lines 3 to .*is a quote missing"):
            check(*swallowed)
    with pytest.raises(DataError, match="holds line breaks in cell 2"):
        check("a.jpg", "x\ny", "", one_line=(1,))
    with pytest.raises(DataError, match="has 2 cells, but the header has 3"):
        check("a.jpg", "x\ny")


def test_columns_are_found_by_name_and_never_guessed_between_two() -> None:
    def place(there: list[str], asked: str | None = None) -> int | None:
        return pick("t.csv", there, asked, PATH_COLUMNS, "--path-column")

    assert place(["label", "Path "]) == 1
    assert place(["path", "PATH"]) == 0  # one is spelled exactly so
    assert place(["url", "file"]) == 1
    assert place(["x"]) is None
    assert place(["Zu\u0308rich"], "Z\u00fcrich") == 0
    with pytest.raises(UsageError, match=r"several columns 'path' \(columns 1, 3\)"):
        place(["path", "x", "path"])
    with pytest.raises(UsageError, match=r"no column 'y' \(--path-column\); it has: path, x"):
        place(["path", "x"], "y")


def test_folders_of_part_files_name_columns() -> None:
    file = "out.parquet/label=New%20York/day=__HIVE_DEFAULT_PARTITION__/part-0.parquet"
    assert partitions(file, "out.parquet") == {"label": "New York", "day": ""}
    assert partitions("out.parquet/part-0.parquet", "out.parquet/") == {}
