"""Sources for lists of paths: a text file, a CSV, standard input."""

import io
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from os.path import splitext
from typing import Any

from service.errors import UsageError
from service.scoring.files import check_file, is_file, join, open_binary, parent
from service.scoring.item import Item
from service.scoring.sources.source import Columns
from service.tabular import text
from service.tabular.columns import PATH_COLUMNS, listed, pick
from service.tabular.delimited import Delimited, Record, plain, read
from service.tabular.label_text import checked_label
from service.tabular.swallowed import check_spans


@dataclass(frozen=True)
class TextList:
    """One path in each line, or paths that end with a NUL byte; `-` reads standard input."""

    name: str
    columns: Columns

    def check(self) -> None:
        """Raises UsageError if there is no file, DataError if it is not a list of paths."""
        if self.name != "-":
            check_file(self.name)
        self.count()

    def items(self, skip: int = 0) -> Iterator[Item]:
        root = self.columns.root or ("" if self.name == "-" else parent(self.name))
        return islice((Item(join(root, path)) for path in self._paths()), skip, None)

    def count(self) -> int | None:
        return None if self.name == "-" else sum(1 for _ in self._paths())

    def _paths(self) -> Iterator[str]:
        if self.name == "-":
            yield from text.paths(_standard_input(), "standard input")
            return
        with open_binary(self.name) as stream:
            yield from text.paths(stream, self.name)


def _standard_input() -> Any:
    """The bytes of standard input: its text layer would refuse names that are not UTF-8.

    A stream of its own: Python aborts at its end if a thread still waits inside `sys.stdin`.
    """
    try:
        return open(sys.stdin.fileno(), "rb", closefd=False)
    except (AttributeError, OSError):  # a stream in memory, as in tests
        return getattr(sys.stdin, "buffer", None) or io.BytesIO(sys.stdin.read().encode())


@dataclass(frozen=True)
class _CsvLayout:
    """How the records of one CSV become items."""

    table: Delimited
    width: int
    """Cells in the header."""
    path_at: int
    label_at: int | None
    has_header: bool


@dataclass(frozen=True)
class CsvList:
    """A CSV or TSV with a column of paths and perhaps one of labels, or one column without header.

    Every row becomes an item. An invalid row becomes an item with an error.
    """

    name: str
    columns: Columns
    partitions: dict[str, str] = field(default_factory=dict[str, str])
    """Columns with a single value, which the names of the file's folders give."""

    def check(self) -> None:
        """Read all of it.

        Raises:
            UsageError: there is no file, or no column of paths is found or named.
            DataError: it cannot be read to its end; the message names the line.
        """
        check_file(self.name)
        self.count()

    def items(self, skip: int = 0) -> Iterator[Item]:
        with self._records() as (layout, records):
            for record in islice(records, skip, None):
                yield self._item(record, layout)

    def count(self) -> int | None:
        with self._records() as (_, records):
            return sum(1 for _ in records)

    def true_labels(self) -> Iterator[str]:
        if self.columns.label is not None:
            yield from (item.label for item in self.items() if item.label)

    @contextmanager
    def _records(self) -> Generator[tuple[_CsvLayout, Iterator[Record]]]:
        asked = (name for name in (self.columns.path, self.columns.label) if name is not None)
        known = {plain(name) for name in (*PATH_COLUMNS, *asked)}
        with open_binary(self.name) as stream:
            table = read(stream, self.name, known, self.columns.separator)
            layout = self._layout(table)
            first = () if layout.has_header or table.first is None else (table.first,)
            yield layout, self._checked(chain(first, table.rest), layout)

    def _checked(self, records: Iterator[Record], layout: _CsvLayout) -> Iterator[Record]:
        """The records that are not empty: Excel writes rows of empty cells at the end."""
        at = layout.label_at
        one_line = () if at is None else (at,)
        for record in records:
            check_spans(
                record, layout.table.separator, layout.width, layout.path_at, one_line, self.name
            )
            if at is not None and at < len(record.cells):
                where = f"{self.name}, line {record.line}"
                record.cells[at] = checked_label(record.cells[at], where)
            if any(cell.strip() for cell in record.cells):
                yield record

    def _layout(self, table: Delimited) -> _CsvLayout:
        if table.first is None:
            raise UsageError(f"{self.name} is empty: it has no header and no path")
        header = [cell.strip() for cell in table.first.cells]
        has_header = True
        path = pick(self.name, header, self.columns.path, PATH_COLUMNS, "--path-column")
        if path is None:
            self._check_no_header(table.first)
            path, has_header = 0, False
        label = None
        if self._partition() is None:
            label = pick(self.name, header, self.columns.label, (), "--label-column")
        return _CsvLayout(table, len(header), path, label, has_header)

    def _check_no_header(self, first: Record) -> None:
        """A single column needs no header if its first line is a path."""
        if len(first.cells) == 1 and self._is_path(first.cells[0]):
            return
        message = (
            f"{self.name} has the columns {listed(first.cells)}; which holds the paths? "
            "(--path-column)"
        )
        if any(map(self._is_path, first.cells)):
            message += (
                "; its first line seems to be a path, not a header: write a header (path), or "
                "call a plain list of paths .txt"
            )
        raise UsageError(message)

    def _is_path(self, cell: str) -> bool:
        suffix = splitext(cell)[1]
        return (
            "/" in cell or "\\" in cell or 1 < len(suffix) <= 6 or is_file(join(self._root, cell))
        )

    def _partition(self) -> str | None:
        return None if self.columns.label is None else self.partitions.get(self.columns.label)

    @property
    def _root(self) -> str:
        return self.columns.root or parent(self.name)

    def _item(self, record: Record, layout: _CsvLayout) -> Item:
        cells, where = record.cells, f"{self.name}, line {record.line}"
        path = cells[layout.path_at] if layout.path_at < len(cells) else ""
        if not path.strip():
            return Item(self.name, error=f"DataError: {where}: the row has no path: {cells}")
        path = join(self._root, path)
        # An unquoted separator moves the cells after it, so that another cell would be the label.
        # A path that moved is not a file, and its row says so.
        if layout.label_at is not None and any(cell.strip() for cell in cells[layout.width :]):
            return Item(
                path,
                error=f"DataError: {where}: {len(cells)} cells, but the header has "
                f"{layout.width}; quote a cell that holds the separator",
            )
        label = self._partition()
        if layout.label_at is not None:
            label = cells[layout.label_at] if layout.label_at < len(cells) else ""
        return Item(path, label=label)
