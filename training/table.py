"""A table of labelled files: CSV, TSV or Parquet with the columns `path`, `label`, perhaps `split`.

Paths are relative to the table. Several labels in a cell have `;` between them, and then an empty
cell means: none of them.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from service.errors import DataError
from service.inference.manifest import TaskName
from service.inference.task import SEPARATOR
from service.scoring.arrow import pq
from training.item import Item

SUFFIXES = (".csv", ".tsv", ".parquet")
COLUMNS = ("path", "label", "split")
SPLITS = {"train": "train", "val": "val", "valid": "val"}


@dataclass(frozen=True)
class Table:
    """What a table says: the files to train on, and those to report on where it names them."""

    task: TaskName
    train: tuple[Item, ...]
    val: tuple[Item, ...] | None
    """None: the table has no `split` column."""


@dataclass(frozen=True)
class _Row:
    line: int
    path: str
    label: str
    split: str


def is_table(data: Path) -> bool:
    """Whether `data` is a table rather than a folder of class folders."""
    return data.suffix.lower() in SUFFIXES and not data.is_dir()


def read_table(file: Path, task: TaskName | Literal["auto"] = "auto") -> Table:
    """Read and check a table; `auto` is multi-label where a cell holds several labels.

    Raises:
        DataError: a table that cannot be read, or a row that makes no sense; the message names it.
    """
    try:
        has_split, rows = _parquet(file) if file.suffix.lower() == ".parquet" else _csv(file)
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    if not rows:
        raise DataError(f"{file} has no rows under its header")
    several = any(SEPARATOR in row.label for row in rows)
    if task == "auto":
        task = "multi_label" if several else "single_label"
    parts: dict[str, list[Item]] = {"train": [], "val": []}
    lines: dict[Path, int] = {}
    for row in rows:
        path = _path(file, row)
        if path in lines:
            raise DataError(f"{file}, line {row.line}: {row.path} is on line {lines[path]} already")
        lines[path] = row.line
        parts[_part(file, row) if has_split else "train"].append(_item(file, row, path, task))
    return Table(task, tuple(parts["train"]), tuple(parts["val"]) if has_split else None)


def _path(file: Path, row: _Row) -> Path:
    if not row.path:
        raise DataError(f"{file}, line {row.line}: the path is empty")
    path = file.parent / row.path
    if not path.is_file():
        raise DataError(f"{file}, line {row.line}: no file {path}")
    return path


def _part(file: Path, row: _Row) -> str:
    if row.split not in SPLITS:
        known = ", ".join(SPLITS)
        raise DataError(
            f"{file}, line {row.line}: split must be one of {known}, but got {row.split!r}"
        )
    return SPLITS[row.split]


def _item(file: Path, row: _Row, path: Path, task: TaskName) -> Item:
    if task == "multi_label":
        return Item(path, SEPARATOR.join(Item(path, row.label).labels))
    if not row.label:
        raise DataError(
            f"{file}, line {row.line}: the label is empty; if that means that none of the classes "
            "is in the image, the data is multi-label (--set task=multi_label)"
        )
    return Item(path, row.label)


def _csv(file: Path) -> tuple[bool, list[_Row]]:
    with file.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.reader(stream, delimiter="\t" if file.suffix.lower() == ".tsv" else ",")
        header = [name.strip().lower() for name in next(reader, [])]
        at = _places(file, header)
        rows: list[_Row] = []
        for cells in reader:
            if not any(cells):
                continue
            if len(cells) != len(header):
                raise DataError(
                    f"{file}, line {reader.line_num}: {len(cells)} cells where the header has "
                    f"{len(header)}: {','.join(cells)[:80]!r}"
                )
            found = {name: cells[index].strip() for name, index in at.items()}
            split = found.get("split", "").lower()
            rows.append(_Row(reader.line_num, found["path"], found["label"], split))
    return "split" in at, rows


def _parquet(file: Path) -> tuple[bool, list[_Row]]:
    parquet = pq.ParquetFile(file)
    at = _places(file, parquet.schema_arrow.names)
    records = parquet.read(columns=list(at)).to_pylist()
    return "split" in at, list(_rows(records))


def _rows(records: list[dict[str, Any]]) -> Iterator[_Row]:
    for line, record in enumerate(records, 1):
        label = record["label"]
        if isinstance(label, list):
            label = SEPARATOR.join(map(str, label)) + SEPARATOR
        split = str(record.get("split") or "").strip().lower()
        text = "" if label is None else str(label).strip()
        yield _Row(line, str(record["path"] or "").strip(), text, split)


def _places(file: Path, header: list[str]) -> dict[str, int]:
    """Where each column is that a table may have."""
    if missing := [name for name in ("path", "label") if name not in header]:
        raise DataError(
            f"{file}, line 1: the header must name path and label, perhaps split, but "
            f"{' and '.join(missing)} is missing from {', '.join(header) or 'an empty line'!r}"
        )
    return {name: header.index(name) for name in COLUMNS if name in header}
