"""Any name survives every text output: terminal, JSON, HTML and Markdown."""

import html.parser
import io
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from service.console import markdown, stdio
from service.console.terminal import PlainConsole
from service.console.text import in_html, json_text, shown, storable
from tests.support.markdown import rows_of
from tests.support.names import any_names, file_names


@given(any_names)
def test_what_is_stored_is_valid_unicode(name: str) -> None:
    stored = storable(name)
    stored.encode()
    if name.isprintable():
        assert stored == name


@given(file_names)
def test_each_odd_byte_is_named(name: str) -> None:
    data = name.encode("utf-8", "surrogateescape")
    assert storable(name) == data.decode("utf-8", "backslashreplace")


@given(any_names)
def test_what_is_shown_is_one_line_without_control_characters(name: str) -> None:
    text = shown(name)
    assert len(text.splitlines()) <= 1
    assert not {unicodedata.category(letter) for letter in text} & {"Cc", "Cs", "Zl", "Zp"}
    assert "\u202e" not in text


def test_what_is_shown_keeps_letters_of_every_script() -> None:
    for name in ("Zürich", "猫", "кошка", "👩\u200d🚀", "קטה", "a b"):
        assert shown(name) == storable(name) == name


@given(st.lists(any_names, min_size=1, max_size=3), st.sampled_from(["utf-8", "ascii", "latin-1"]))
def test_json_on_stdout_is_valid_in_every_encoding(names: list[str], encoding: str) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding, errors="strict", newline="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", out)
        stdio.print_json({"names": names, names[0]: 1})
    out.flush()
    written = json.loads(out.buffer.getvalue())  # type: ignore[attr-defined]
    assert written["names"] == [storable(name) for name in names]


@given(any_names)
def test_a_line_of_json_stays_one_line(name: str) -> None:
    assert "\n" not in json_text({"name": name})


@given(any_names)
def test_the_terminal_gets_text_and_no_commands(name: str) -> None:
    out = io.StringIO()
    console = PlainConsole(file=out, width=1000, force_terminal=False, soft_wrap=True)
    console.print(name)
    table = Table(name, title=name, box=None)
    table.add_row(name)
    console.print(table)
    lines = out.getvalue().split("\n")
    assert lines[0] == shown(name)
    assert not set("\x1b\x9b\x07\x08\r") & set(out.getvalue())
    assert sum(shown(name).strip() in line for line in lines) >= 4


@given(any_names)
def test_html_shows_the_name(name: str) -> None:
    found: list[str] = []
    parser = html.parser.HTMLParser()
    parser.handle_data = found.append  # type: ignore[method-assign]
    parser.feed(f"<p>{in_html(name)}</p>")
    parser.close()
    assert "".join(found) == shown(name)


@given(st.lists(any_names, min_size=1, max_size=4), any_names)
def test_a_table_of_markdown_keeps_its_shape_and_its_text(names: list[str], column: str) -> None:
    text = markdown.table((column, "count"), [(name, 7) for name in names], "lr")
    assert rows_of(text) == [
        [shown(column).strip(), "count"],
        *([shown(name).strip(), "7"] for name in names),
    ]


@given(any_names)
def test_code_in_markdown_is_the_name(name: str) -> None:
    text = markdown.table(("a", "b"), [(markdown.code(name), 1)])
    assert rows_of(text) == [["a", "b"], [shown(name).strip(), "1"]]


def test_plain_names_look_plain() -> None:
    for name in ("tench", "five_crop", "English springer", "n01440764", "Zürich"):
        assert markdown.plain(name) == name
        assert markdown.code(name) == f"`{name}`"
