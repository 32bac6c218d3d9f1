"""Form data as clients write it, and as attackers do."""

import re
import sys
from contextlib import suppress
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.http.multipart import MAX_HEAD_BYTES, MAX_LOOKALIKES, WINDOW_BYTES, FormPart, split
from service.errors import UsageError


def part(data: bytes = b"x", disposition: str = 'form-data; name="image"', more: str = "") -> bytes:
    head = f"Content-Disposition: {disposition}\r\n{more}\r\n"
    return b"--b\r\n" + head.encode() + data + b"\r\n"


def parsed(*parts: bytes, end: bytes = b"--b--\r\n") -> list[FormPart]:
    return list(split(b"".join(parts) + end, b"b"))


@pytest.mark.parametrize(
    "filename",
    [
        'filename="p.jpg"',
        "filename=p.jpg",
        'filename=""',
        'filename="a;b.jpg"',
        r'filename="a\"b.jpg"',
        r'filename="C:\photos\p.jpg"',
        r'filename="C:\photos"',
        'filename="%22p%22.jpg"',
        'filename="é.jpg"',
        'filename="=?utf-8?B?w6kuanBn?="',
        "filename*=utf-8''%C3%A9.jpg",
        "filename*=UTF-8'en'%C3%A9.jpg",
        "filename*=iso-8859-1''%E9.jpg",
        "filename* = utf-8''p.jpg",
        "filename=\"e.jpg\"; filename*=utf-8''%C3%A9.jpg",
        "filename*=utf-8''%C3%A9.jpg; filename=\"e.jpg\"",
        'filename*0="long-"; filename*1="name.jpg"',
        "filename*0*=utf-8''%C3%A9; filename*1*=.jpg",
        "FileName=p.jpg",
    ],
)
@pytest.mark.parametrize("order", ["form-data; name={0}; {1}", "form-data; {1}; name={0}"])
@pytest.mark.parametrize("name", ['"image"', "image"])
def test_every_way_to_name_a_file_makes_a_file(filename: str, order: str, name: str) -> None:
    (only,) = parsed(part(disposition=order.format(name, filename)))
    assert (only.name, only.data, only.has_filename) == ("image", b"x", True)


@pytest.mark.parametrize(
    "disposition",
    [
        'form-data;name="image"',
        'FORM-DATA; NAME="image"',
        "form-data ; name = image",
        "form-data; name*=utf-8''ima%67e",
        'form-data;\r\n  name="image"',
    ],
)
def test_every_way_to_name_a_field_is_read(disposition: str) -> None:
    (only,) = parsed(part(disposition=disposition))
    assert (only.name, only.has_filename) == ("image", False)


def test_headers_are_read_whatever_their_case_and_order() -> None:
    body = (
        b"--b\r\ncontent-TYPE: Image/JPEG; x=y\r\nContent-disposition:form-data;name=a\r\n\r\nx\r\n"
    )
    (only,) = parsed(body)
    assert (only.name, only.content_type) == ("a", "image/jpeg")


BOUNDARY_LINE = re.compile(rb"\r\n--b(--)?[ \t]*\r?\n")
LOOKALIKES = [b"\r\n", b"--b", b"\r\n--", b"\r\n--b-X", b"\r\n--bb\r\n", b"--"]
DATA = (st.binary(max_size=60) | st.sampled_from(LOOKALIKES)).filter(
    lambda data: not BOUNDARY_LINE.search(data + b"\r\n")
)


@given(
    datas=st.lists(DATA, max_size=5),
    before=st.sampled_from([b"", b"\r\n", b"a preamble\r\n"]),
    after=st.sampled_from([b"", b"\r\n", b"\n", b" \t\r\n", b"\r\nan epilogue --b\r\n"]),
)
def test_data_comes_out_as_it_went_in(datas: list[bytes], before: bytes, after: bytes) -> None:
    body = before + b"".join(map(part, datas)) + b"--b--" + after
    assert [part.data for part in split(body, b"b")] == datas


def test_a_boundary_is_found_wherever_it_lies_in_the_windows() -> None:
    for size in range(WINDOW_BYTES - 70, WINDOW_BYTES + 5):
        assert [len(p.data) for p in parsed(part(bytes(size)), part(b"y"))] == [size, 1]


@given(st.binary(max_size=300), st.integers(0, 100))
def test_bytes_are_split_or_refused(junk: bytes, cut: int) -> None:
    for body in (junk, part(junk)[:cut] + b"\r\n--b" + junk, b"--b\r\n" + junk + b"\r\n--b--"):
        with suppress(UsageError):
            list(split(body, b"b"))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "cut short"),
        (part(), "cut short"),
        (b"--b", "cut short"),
        (part().replace(b"\r\n", b"\n") + b"--b--\n", "these end in LF"),
        (b"--b\r\nX: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n" + b"\r\n--b--", "do not end within"),
        (b"--b\r\nno colon\r\n\r\nx\r\n--b--", "malformed: the header"),
        (part(more="Content-Disposition: form-data; name=b\r\n") + b"--b--", "twice"),
        (part(disposition="form-data") + b"--b--", "has no name"),
        (b"--b\r\n\r\nx\r\n--b--", "has no name"),
        (part(more="Content-Transfer-Encoding: base64\r\n") + b"--b--", "'base64'"),
    ],
)
def test_what_is_malformed_is_named(body: bytes, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        list(split(body, b"b"))


@pytest.mark.parametrize("boundary", [b"", b"b" * 257])
def test_a_boundary_has_a_sensible_length(boundary: bytes) -> None:
    with pytest.raises(UsageError, match="must have 1 to 256 bytes"):
        list(split(b"--b\r\n", boundary))


@pytest.mark.parametrize(
    ("more", "data", "text"),
    [
        ("", "é".encode(), "é"),
        ("Content-Type: text/plain; charset=iso-8859-1\r\n", "é".encode("latin-1"), "é"),
        ('Content-Type: text/plain; charset="UTF-8"\r\n', "é".encode(), "é"),
        ("Content-Type: text/plain; charset=rot13\r\n", b"e", None),
        ("", b"\xff\xfe", None),
    ],
)
def test_text_is_read_in_its_charset_or_refused(more: str, data: bytes, text: str | None) -> None:
    (only,) = parsed(part(data, more=more))
    if text is None:
        with pytest.raises(UsageError, match="'image'"):
            only.text()
    else:
        assert only.text() == text


N = 4 * 2**20
HOSTILE = {
    "spaces after a boundary": part() + b"--b" + b" " * N,
    "the boundary, nearly": b"--b\r\n\r\n" + b"\r\n--b-X" * (N // 7),
    "line breaks": b"--b\r\n\r\n" + b"\r\n" * (N // 2),
    "hyphens": b"--b\r\n\r\n" + b"\r\n--" * (N // 4),
    "a preamble": b"\r\n--" * (N // 4),
    "headers": b"--b\r\n" + b"a:b\r\n" * (N // 5),
    "one header": b"--b\r\nContent-Disposition: form-data" + b";a" * (N // 2),
    "quotes": part(disposition="form-data; name=" + '"\\' * 2000),
    "parameters": part(disposition="form-data; name=a" + ';a="\\"' * 1000),
    "folded": b"--b\r\nX: " + b"\r\n " * 2000 + b"\r\n\r\nx",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_body_is_refused_in_few_steps(kind: str) -> None:
    """A step is a line of Python in the parser. What costs a step a byte takes millions of them."""
    steps = 0

    def count(frame: FrameType, event: str, _: object) -> Any:
        nonlocal steps
        steps += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        with pytest.raises(UsageError):
            list(split(HOSTILE[kind], b"b"))
    finally:
        sys.settrace(before)
    assert steps < 40_000


def test_lookalikes_are_data_until_they_are_many() -> None:
    few = b"\r\n--b-X" * MAX_LOOKALIKES
    assert parsed(part(few))[0].data == few
    with pytest.raises(UsageError, match="occurs within its parts"):
        parsed(part(few + b"\r\n--b-X"))
