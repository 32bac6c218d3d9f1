"""Leaves of path lists: a text file, a CSV, standard input."""

import csv
import io
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import IO

from service.errors import UsageError
from service.scoring.files import is_file, join, open_binary, parent
from service.scoring.item import Item
from service.scoring.sources.leaf import Columns

PATH_COLUMNS = ("path", "file", "filename", "file_name", "image", "image_path", "url")


@contextmanager
def _text(path: str) -> Generator[IO[str]]:
    """File names need not be UTF-8: `surrogateescape` keeps their bytes."""
    with (
        open_binary(path) as raw,
        io.TextIOWrapper(raw, "utf-8-sig", "surrogateescape", newline="") as text,  # type: ignore[arg-type]
    ):
        yield text


@dataclass(frozen=True)
class TextList:
    """A path in every line; `-` reads standard input."""

    name: str
    columns: Columns

    def check(self) -> None:
        if self.name != "-" and not is_file(self.name):
            raise UsageError(f"no file {self.name}")

    def items(self, skip: int = 0) -> Iterator[Item]:
        root = self.columns.root or ("" if self.name == "-" else parent(self.name))
        return islice((Item(join(root, line)) for line in self._lines()), skip, None)

    def count(self) -> int | None:
        return None if self.name == "-" else sum(1 for _ in self._lines())

    def _lines(self) -> Iterator[str]:
        if self.name == "-":
            if reconfigure := getattr(sys.stdin, "reconfigure", None):
                # In most locales standard input refuses a name that is not UTF-8.
                reconfigure(encoding="utf-8-sig", errors="surrogateescape", newline="")
            yield from _filled(sys.stdin)
            return
        with _text(self.name) as lines:
            yield from _filled(lines)


def _filled(lines: IO[str]) -> Iterator[str]:
    return (text for line in lines if (text := line.rstrip("\r\n")))


@dataclass(frozen=True)
class CsvList:
    """A CSV or TSV with a column of paths and perhaps one of labels."""

    name: str
    columns: Columns

    def check(self) -> None:
        if not is_file(self.name):
            raise UsageError(f"no file {self.name}")
        with _text(self.name) as text:
            self._places(next(self._rows(text), list[str]()))

    def items(self, skip: int = 0) -> Iterator[Item]:
        with _text(self.name) as text:
            rows = self._rows(text)
            path_at, label_at = self._places(next(rows, list[str]()))
            root = self.columns.root or parent(self.name)
            for row in islice(filter(None, rows), skip, None):
                if path_at >= len(row):
                    yield Item(self.name, error=f"DataError: a row without a path: {row}")
                    continue
                label = None
                if label_at is not None:
                    label = row[label_at] if label_at < len(row) else ""
                yield Item(join(root, row[path_at]), label=label)

    def count(self) -> int | None:
        with _text(self.name) as text:
            return max(0, sum(1 for row in self._rows(text) if row) - 1)

    def _rows(self, text: IO[str]) -> Iterator[list[str]]:
        return csv.reader(text, delimiter="\t" if self.name.lower().endswith(".tsv") else ",")

    def _places(self, header: list[str]) -> tuple[int, int | None]:
        path = pick(self.name, header, self.columns.path, PATH_COLUMNS, "--path-column")
        if path is None:
            if len(header) != 1:
                raise UsageError(
                    f"{self.name} has the columns {', '.join(header) or '(none)'}; "
                    "which holds the paths? (--path-column)"
                )
            path = header[0]
        label = pick(self.name, header, self.columns.label, (), "--label-column")
        return header.index(path), None if label is None else header.index(label)


def pick(
    source: str, there: list[str], asked: str | None, usual: tuple[str, ...], option: str
) -> str | None:
    """The column that was asked for, or the first of the usual ones that is there.

    Raises:
        UsageError: a column was asked for that is not there.
    """
    if asked is not None:
        if asked not in there:
            raise UsageError(
                f"{source} has no column {asked!r} ({option}); it has: {', '.join(there)}"
            )
        return asked
    return next((name for name in usual if name in there), None)
