"""A table that a CSV writer wrote reads back equal; a table with a damaged quote is refused."""

import csv
import io
import re
from itertools import pairwise
from typing import Any, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.errors import DataError
from service.tabular.delimited import Delimited, read

ENDS = ("\n", "\r\n", "\r")
SEPARATORS = (",", ";", "\t", "|")
QUOTING: tuple[Literal[0, 1, 2], ...] = (csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32")

characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff")
cells = st.text(characters, max_size=12) | st.sampled_from(
    ['"', '""', ",", ";", "\n", ' "x"', "a,b;c\td|e", "sep=;", "Zürich", "", " "]
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[list[str]], bytes]:
    """Rows under a header that holds `path`, and the bytes that a writer makes of them."""
    width = draw(st.integers(1, 4))
    row = st.lists(cells, min_size=width, max_size=width)
    rows = [draw(row), *draw(st.lists(row, max_size=5))]
    rows[0][draw(st.integers(0, width - 1))] = "path"
    dialect: dict[str, Any] = {
        "delimiter": draw(st.sampled_from(SEPARATORS)),
        "lineterminator": draw(st.sampled_from(ENDS)),
        "quoting": draw(st.sampled_from(QUOTING)),
    }
    if dialect["quoting"] == csv.QUOTE_MINIMAL and dialect["lineterminator"] != "\r\n":
        # Python's writer leaves the other line end in a cell unquoted.
        rows = [[re.sub(r"[\r\n]", "", cell) for cell in cells] for cells in rows]
    text = io.StringIO(newline="")
    csv.writer(text, **dialect).writerows(rows)
    return rows, text.getvalue().encode(draw(st.sampled_from(ENCODINGS)))


def parsed(data: bytes, known: tuple[str, ...] = ("path",)) -> list[list[str]]:
    table: Delimited = read(io.BytesIO(data), "t.csv", known)
    first = [] if table.first is None else [table.first]
    return [record.cells for record in [*first, *table.rest]]


@given(tables())
@example(([["path"], ["a, b.jpg"]], b'path\n"a, b.jpg"\n'))
def test_what_a_writer_wrote_reads_back_equal(table: tuple[list[list[str]], bytes]) -> None:
    rows, data = table
    assert parsed(data) == rows


@given(table=tables(), place=st.integers(0), remove=st.booleans())
def test_a_quote_too_many_or_too_few_is_an_error_with_its_line(
    table: tuple[list[list[str]], bytes], place: int, remove: bool
) -> None:
    text = table[1].decode("utf-8", "replace")
    places = [at for at, character in enumerate(text) if character == '"']
    if remove and places:
        at = places[place % len(places)]
        damaged = text[:at] + text[at + 1 :]
    else:
        at = 1 + place % len(text)  # not before a byte order mark
        damaged = text[:at] + '"' + text[at:]
    if "\0" in damaged or "\ufffd" in text:
        return  # UTF-16, damaged as bytes
    with pytest.raises(DataError) as caught:
        parsed(damaged.encode())
    lines = re.findall(r"lines? (\d+)", str(caught.value))
    assert lines
    assert 1 <= int(lines[0]) <= len(re.split(r"\r\n|\n|\r", damaged))


@given(tables())
def test_the_lines_of_rows_are_their_places_in_the_file(
    table: tuple[list[list[str]], bytes],
) -> None:
    _, data = table
    opened = read(io.BytesIO(data), "t.csv", ("path",))
    assert opened.first is not None
    spans = [(record.line, record.last_line) for record in [opened.first, *opened.rest]]
    assert spans[0][0] == 1
    for (_, last), (following, _) in pairwise(spans):
        assert following == last + 1
