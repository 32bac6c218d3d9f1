"""The text of a list or table: its encoding is recognised, and every line has a number."""

import codecs
import io
from collections.abc import Iterator
from typing import IO, Any

from service.errors import DataError

HEAD_BYTES = 65_536
"""Bytes that are read to recognise the encoding."""
MAX_LINE_CHARS = 16 * 1024 * 1024
MAX_PATH_CHARS = 65_536
"""The longest line of a list of paths, and the longest path in it."""
BOMS = (  # the longer ones first: the mark of UTF-32 begins with the mark of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
NO_TEXT = {
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"PAR1\x15": "a Parquet file",
    b"ARROW1\0": "an Arrow file",
    b"\x1f\x8b": "a gzip file",
    b"\x28\xb5\x2f\xfd": "a Zstandard file",
    b"\xff\xd8\xff": "a JPEG image",
    b"\x89PNG": "a PNG image",
    b"%PDF": "a PDF",
    b"SQLite format 3": "an SQLite database",
}
SAVE_AS_UTF8 = (
    "save it as UTF-8 (Excel: 'CSV UTF-8'; PowerShell: Out-File -Encoding utf8; "
    "iconv -f ENCODING -t UTF-8)"
)

Line = tuple[int, str]
"""A line's number, from 1, and its text with the line end."""


def lines(stream: IO[bytes], name: str) -> Iterator[Line]:
    r"""The lines of a text file, each with its number and its line end (\n, \r\n or \r).

    UTF-8, with or without a byte order mark; UTF-16 and UTF-32 with one. Bytes that are not UTF-8
    become surrogates, because file names may hold any bytes.

    Raises:
        DataError: NUL bytes, another kind of file, or a line over `MAX_LINE_CHARS`.
    """
    head = stream.read(HEAD_BYTES)
    encoding = _encoding(head, name)
    if encoding is None:
        raise DataError(f"{name} holds NUL bytes: it is not text; {SAVE_AS_UTF8}")
    yield from _lines(head, stream, encoding, name, MAX_LINE_CHARS)


def paths(stream: IO[bytes], name: str) -> Iterator[str]:
    """The paths of a list: one in each line, or each ended by a NUL byte (`find -print0`).

    Empty lines are skipped. A list is NUL-separated if its first 64 KiB, or the first data of a
    pipe, contain a NUL byte.

    Raises:
        DataError: as `lines`, or a path over `MAX_PATH_CHARS`.
    """
    head = _first_path(stream)
    encoding = _encoding(head, name)
    if encoding is None:
        yield from _ended_by_nul(head, stream, name)
        return
    for _, line in _lines(head, stream, encoding, name, MAX_PATH_CHARS):
        if path := line.rstrip("\r\n"):
            yield path


def _first_path(stream: IO[bytes]) -> bytes:
    """The beginning of a list, at least to the end of its first path."""
    read: Any = getattr(stream, "read1", stream.read)  # a pipe hands out what it has
    head = b""
    while len(head) < 4 or not any(end in head for end in (b"\0", b"\n", b"\r")):
        block: bytes = read(HEAD_BYTES)
        head += block
        if not block or len(head) >= HEAD_BYTES:
            break
    return head


def _encoding(head: bytes, name: str) -> str | None:
    """The codec of a text that begins with `head`; None if NUL bytes separate its parts.

    Raises:
        DataError: UTF-16 without a byte order mark, or a file that is not text.
    """
    for magic, kind in NO_TEXT.items():
        if head.startswith(magic):
            raise DataError(f"{name} is {kind}, not text")
    for mark, encoding in BOMS:
        if head.startswith(mark):
            return encoding
    if b"\0" not in head:
        return "utf-8"
    even, odd = head[::2].count(0), head[1::2].count(0)
    if max(even, odd) > len(head) // 4 and min(even, odd) < max(even, odd) // 4:
        raise DataError(
            f"{name} looks like UTF-16 without a byte order mark, which is not read; {SAVE_AS_UTF8}"
        )
    return None


class _Whole(io.RawIOBase):
    """`head` and then the rest of `stream`, which stays open."""

    def __init__(self, head: bytes, stream: IO[bytes]) -> None:
        self._head = head
        self._read: Any = getattr(stream, "read1", stream.read)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._head[: len(buffer)] if self._head else self._read(len(buffer))
        self._head = self._head[len(data) :]
        buffer[: len(data)] = data
        return len(data)


def _lines(
    head: bytes, stream: IO[bytes], encoding: str, name: str, most_chars: int
) -> Iterator[Line]:
    errors = "surrogateescape" if encoding.startswith("utf-8") else "strict"
    raw = io.BufferedReader(_Whole(head, stream), HEAD_BYTES)
    number = 0
    with io.TextIOWrapper(raw, encoding, errors, newline="") as text:
        while True:
            number += 1
            try:
                line = text.readline(most_chars + 1)
            except UnicodeError as error:
                raise DataError(
                    f"{name}, near line {number}: this is not {encoding.upper()}, as the byte "
                    f"order mark says ({error}); {SAVE_AS_UTF8}"
                ) from error
            if not line:
                return
            if len(line) > most_chars:
                raise DataError(
                    f"{name}, line {number}: over the limit of {most_chars:,} characters in a line"
                )
            if "\0" in line:
                raise DataError(
                    f"{name}, line {number}: a NUL byte; a NUL-separated list has one after the "
                    "first path, and other text has none"
                )
            yield number, line


def _ended_by_nul(head: bytes, stream: IO[bytes], name: str) -> Iterator[str]:
    read: Any = getattr(stream, "read1", stream.read)
    rest = head
    number = 0
    while True:
        *whole, rest = rest.split(b"\0")
        for path in whole:
            number += 1
            if path:
                yield path.decode("utf-8", "surrogateescape")
        if len(rest) > MAX_PATH_CHARS:
            raise DataError(
                f"{name}, path {number + 1}: over the limit of {MAX_PATH_CHARS:,} bytes in a path"
            )
        block: bytes = read(HEAD_BYTES)
        if not block:
            break
        rest += block
    if rest:
        yield rest.decode("utf-8", "surrogateescape")
