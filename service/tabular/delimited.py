"""CSV and its relatives, parsed strictly: RFC 4180 with any one separator.

A cell is quoted as a whole or not at all; a quote within it is doubled. Everything else about
quotes is an error with its line, because a stray quote may swallow any number of rows.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import IO

from service.console.text import same_name
from service.errors import DataError
from service.tabular.text import MAX_LINE_CHARS, Line, lines

QUOTE = '"'
SEPARATORS = (",", ";", "\t", "|")
MAX_HEADER_LINES = 100
HINT = re.compile(r'("?)sep=(.)\1', re.IGNORECASE)
"""The line that tells Excel the separator."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row."""

    line: int
    """The number of its first line, from 1."""
    last_line: int
    """A quoted cell may hold line breaks, so that the row spans several lines."""
    cells: list[str]


@dataclass(frozen=True)
class Delimited:
    """A table that is open for reading."""

    separator: str | None
    """None: the first line holds no separator, so that every line is one cell."""
    first: Record | None
    """The header, unless there is none; None for a file without a line of text."""
    rest: Iterator[Record]


def plain(name: str) -> str:
    """A column's name for comparison: NFC, without outer spaces and case."""
    return same_name(name).strip().casefold()


def read(
    stream: IO[bytes], name: str, known: Collection[str], separator: str | None = None
) -> Delimited:
    """Open a table. The separator is the one that yields the most `known` columns in the header.

    Empty lines are skipped. `known` holds names as `plain` writes them.

    Raises:
        DataError: the file is not text, or its quotes are damaged; reading `rest` raises it too.
    """
    numbered = lines(stream, name)
    first = next((line for line in numbered if line[1].strip("\r\n")), None)
    if first is not None and (hint := HINT.fullmatch(first[1].strip("\r\n "))):
        separator = separator or hint[2]
        first = next((line for line in numbered if line[1].strip("\r\n")), None)
    if first is None:
        return Delimited(separator, None, iter(()))
    header = [first]
    if separator is None:
        header = _header(first, numbered)
        separator = _sniffed("".join(line for _, line in header), known)
    records = _records(chain(header, numbered), separator, name)
    return Delimited(separator, next(records, None), records)


def _header(first: Line, rest: Iterator[Line]) -> list[Line]:
    """The lines of the first record: a quoted cell in it may hold line breaks."""
    found, quotes = [first], first[1].count(QUOTE)
    while quotes % 2 and len(found) < MAX_HEADER_LINES and (line := next(rest, None)):
        found.append(line)
        quotes += line[1].count(QUOTE)
    return found


def _sniffed(header: str, known: Collection[str]) -> str | None:
    """The separator that yields the most known columns; of several the one with the most cells."""
    unquoted = re.sub(r'"[^"]*("|$)', "", header)
    ranks: list[tuple[int, int, str]] = []
    for separator in SEPARATORS:
        if separator in unquoted:
            cells = [cell.strip(" \r\n").strip(QUOTE) for cell in header.split(separator)]
            names = {plain(cell) for cell in cells if "\t" not in cell}
            ranks.append((len(names & set(known)), len(cells), separator))
    return max(ranks)[2] if ranks else None


def _records(numbered: Iterator[Line], separator: str | None, name: str) -> Iterator[Record]:
    for number, line in numbered:
        body = _without_end(line)
        cells = [body] if separator is None else body.split(separator)
        if QUOTE in line and not _unquote(cells):
            yield _Quoted(numbered, separator, name).record(number, line)
        elif body:
            yield Record(number, number, cells)


def _unquote(cells: list[str]) -> bool:
    """Remove the quotes of `cells`; False if a quoted cell holds a quote, separator or line end.

    Most quoted rows need no more, and this is four times as fast as `_Quoted`.
    """
    for at, cell in enumerate(cells):
        if QUOTE in cell:
            if len(cell) < 2 or cell[0] != QUOTE or cell[-1] != QUOTE or QUOTE in cell[1:-1]:
                return False
            cells[at] = cell[1:-1]
    return True


def _without_end(line: str) -> str:
    return (
        line[:-2] if line.endswith("\r\n") else line[:-1] if line.endswith(("\n", "\r")) else line
    )


class _Quoted:
    """Parses one record whose first line holds a quote."""

    def __init__(self, numbered: Iterator[Line], separator: str | None, name: str) -> None:
        self._numbered = numbered
        self._separator = separator
        self._name = name
        self._line, self._number, self._at = "", 0, 0

    def record(self, number: int, line: str) -> Record:
        self._line, self._number = line, number
        cells: list[str] = []
        while True:
            quoted = self._line.startswith(QUOTE, self._at)
            cells.append(self._quoted_cell(len(cells) + 1) if quoted else self._bare_cell())
            if self._at >= len(_without_end(self._line)):
                return Record(number, self._number, cells)
            self._at += 1  # past the separator

    def _bare_cell(self) -> str:
        body = _without_end(self._line)
        end = -1 if self._separator is None else body.find(self._separator, self._at)
        cell = body[self._at : end if end >= 0 else len(body)]
        if QUOTE in cell:
            raise DataError(
                f"{self._name}, line {self._number}: a quote stands inside the cell "
                f"{cell[:80]!r}; put the whole cell in quotes and double the quote inside it"
            )
        self._at += len(cell)
        return cell

    def _quoted_cell(self, column: int) -> str:
        opened, parts, chars = self._number, list[str](), 0
        start = self._at + 1
        while True:
            end = self._line.find(QUOTE, start)
            if end >= 0 and not self._line.startswith(QUOTE, end + 1):
                parts.append(self._line[start:end])
                self._at = end + 1
                self._check_end(opened)
                return "".join(parts)
            if end >= 0:  # a doubled quote stands for one
                parts.append(self._line[start : end + 1])
                start = end + 2
                continue
            parts.append(self._line[start:])
            chars += len(parts[-1])
            following = next(self._numbered, None) if chars <= MAX_LINE_CHARS else None
            if following is None:
                raise DataError(
                    f"{self._name}, line {opened}: the quote that opens cell {column} is never "
                    "closed"
                    + ("" if chars <= MAX_LINE_CHARS else f" within {MAX_LINE_CHARS:,} characters")
                )
            (self._number, self._line), start = following, 0

    def _check_end(self, opened: int) -> None:
        """Check that a separator or the end of the line follows a closing quote."""
        body = _without_end(self._line)
        if self._at >= len(body) or body[self._at] == self._separator:
            return
        where = "" if opened == self._number else f" of the cell that opens on line {opened}"
        raise DataError(
            f"{self._name}, line {self._number}: {body[self._at : self._at + 20]!r} follows the "
            f"closing quote{where}; a quote is missing, or one is too many"
        )
