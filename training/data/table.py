"""A table of labelled files with the columns `path`, `label` and optionally `split`.

CSV, TSV, Parquet or Arrow, or a folder of such part files. Paths are relative to the table. Several
labels in a cell are separated by `;`. In such a table an empty cell means: none of the labels.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from service.errors import DataError
from service.inference.tta.task import SEPARATOR
from service.package.manifest import TaskName
from training.data.item import Item
from training.data.table_rows import SUFFIXES, TableRow, is_folder_of_parts, rows

SPLITS = {"train": "train", "val": "val", "valid": "val"}


@dataclass(frozen=True)
class LabelTable:
    """The content of a table: the files for training, and those for reports if it names them."""

    task: TaskName
    train: tuple[Item, ...]
    val: tuple[Item, ...] | None
    """None: the table has no `split` column."""


def is_table(data: Path) -> bool:
    """Whether `data` is a table rather than a folder of class folders."""
    return data.suffix.lower() in SUFFIXES and (not data.is_dir() or is_folder_of_parts(data))


def read_table(file: Path, task: TaskName | Literal["auto"] = "auto") -> LabelTable:
    """Read and check a table. `auto` means multi-label if a cell holds several labels.

    Raises:
        DataError: a table that cannot be read, or an invalid row; the message names it.
    """
    found = list(rows(file))
    if not found:
        raise DataError(f"{file} has no rows under its header")
    several = any(row.is_list or SEPARATOR in row.label for row in found)
    if task == "auto":
        task = "multi_label" if several else "single_label"
    if not several:
        _look_for_joined_labels(file, {row.label for row in found})
    parts: dict[str, list[Item]] = {"train": [], "val": []}
    seen: dict[Path, str] = {}
    for row in found:
        path = _path(file, row)
        if path in seen:
            raise DataError(
                f"{row.where}: {row.path} is already on {_short(seen[path], row.where)}"
            )
        seen[path] = row.where
        parts[_part(row)].append(_item(row, path, task))
    with_split = {row.split is not None for row in found}
    if len(with_split) > 1:
        raise DataError(f"{file}: some part files have a column split, and others have none")
    return LabelTable(
        task, tuple(parts["train"]), tuple(parts["val"]) if True in with_split else None
    )


def _look_for_joined_labels(file: Path, labels: set[str]) -> None:
    """Warn where a label seems to be several labels with another separator than `;`."""
    for label in sorted(labels):
        for separator in (",", "|"):
            joined = {part.strip() for part in label.split(separator)}
            if len(joined) > 1 and joined <= labels:
                warnings.warn(
                    f"{file}: {label!r} becomes a class of its own, beside its parts. If it means "
                    f"several labels, write {SEPARATOR!r} between them",
                    stacklevel=3,
                )
                return


def _short(where: str, other: str) -> str:
    """`where`, without the file's name where `other` is in the same file."""
    file, _, place = where.rpartition(", ")
    return place if other.startswith(f"{file}, ") else where


def _path(table: Path, row: TableRow) -> Path:
    if not row.path.strip():
        raise DataError(f"{row.where}: the path is empty")
    path = table.parent / row.path
    if not path.is_file():
        path = table.parent / row.path.strip()  # hand-written tables have spaces after the comma
    if not path.is_file():
        raise DataError(f"{row.where}: no file {path}")
    return path


def _part(row: TableRow) -> str:
    if row.split is None:
        return "train"
    if row.split not in SPLITS:
        known = ", ".join(SPLITS)
        raise DataError(f"{row.where}: split must be one of {known}, but got {row.split!r}")
    return SPLITS[row.split]


def _item(row: TableRow, path: Path, task: TaskName) -> Item:
    if task == "multi_label":
        return Item(path, SEPARATOR.join(Item(path, row.label).labels))
    if not row.label:
        raise DataError(
            f"{row.where}: the label is empty; if that means that none of the classes "
            "is in the image, the data is multi-label (quincunx train --set task=multi_label)"
        )
    if row.is_list and SEPARATOR in row.label:
        raise DataError(
            f"{row.where}: the list holds several labels ({row.label}), but the task is "
            "single_label"
        )
    return Item(path, row.label)
