"""The rows of a training table, as text: from CSV and TSV, and from Parquet and Arrow."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from service.errors import DataError, UsageError
from service.package.labels import WHOLE
from service.scoring.files import check_kind
from service.tabular import arrow_cells
from service.tabular.arrow_files import BROKEN, ArrowReader, opened
from service.tabular.columns import PATH_COLUMNS, find, listed, pick
from service.tabular.delimited import Record, plain, read
from service.tabular.label_text import checked_label
from service.tabular.partitions import part_files, partitions
from service.tabular.swallowed import check_spans

TEXT_SUFFIXES = (".csv", ".tsv")
SUFFIXES = (*TEXT_SUFFIXES, ".parquet", ".arrow", ".feather", ".ipc")
COLUMNS = ("path", "label", "split")
KNOWN = (*PATH_COLUMNS, "label", "split")
"""Names that tell which character separates the cells of a header."""


@dataclass(frozen=True)
class TableRow:
    """One labelled file as the table has it."""

    where: str
    """For messages: the file and the line, or the row of a binary table."""
    path: str
    label: str
    split: str | None
    """None: the table has no such column."""
    is_list: bool = False
    """The label is a list, so that the data is multi-label."""


def is_folder_of_parts(table: Path) -> bool:
    """Whether a folder is a table in part files (Spark), and no data set of class folders."""
    return table.is_dir() and any(table.rglob(f"*{table.suffix}"))


def _files(table: Path) -> list[Path]:
    if not table.is_dir():
        return [table]
    found = sorted(path.as_posix() for path in table.rglob(f"*{table.suffix}") if path.is_file())
    return [Path(path) for path in part_files(found, table.as_posix())]


def rows(table: Path) -> Iterator[TableRow]:
    """The rows of a table, in order; rows without any text are skipped.

    Raises:
        DataError: a file that cannot be read to its end, or a row that does not fit the header.
    """
    for file in _files(table):
        try:
            check_kind(str(file))
            read_rows = _csv if file.suffix.lower() in TEXT_SUFFIXES else _arrow
            yield from read_rows(file, table)
        except UsageError as error:
            raise DataError(str(error)) from error
        except BROKEN as error:
            raise DataError(f"{file} cannot be read: {error}") from error


def _folder_columns(file: Path, table: Path, own: list[str]) -> dict[str, str]:
    """The columns that the folders of a part file stand for. A column of the file comes first."""
    if file == table:
        return {}
    there = {plain(name) for name in own}
    found = partitions(file.as_posix(), table.as_posix())
    return {name: value for name, value in found.items() if plain(name) not in there}


def _csv(file: Path, folder: Path) -> Iterator[TableRow]:
    with file.open("rb") as stream:
        table = read(stream, str(file), KNOWN)
        header = [cell.strip() for cell in table.first.cells] if table.first else []
        folders = _folder_columns(file, folder, header)
        at = _places(file, [*header, *folders])
        one_line = [place for name, place in at.items() if name != "path"]
        for record in table.rest:
            check_spans(record, table.separator, len(header), at["path"], one_line, str(file))
            if any(cell.strip() for cell in record.cells):
                where = f"{file}, line {record.line}"
                cells = [*_fitted(record, len(header), where), *folders.values()]
                split = cells[at["split"]].strip().lower() if "split" in at else None
                yield TableRow(
                    where, cells[at["path"]], checked_label(cells[at["label"]], where), split
                )


def _fitted(record: Record, width: int, where: str) -> list[str]:
    """The cells under the header. Spreadsheets add empty cells after it, which are cut."""
    cells = record.cells
    if len(cells) < width or any(cell.strip() for cell in cells[width:]):
        raise DataError(
            f"{where}: {len(cells)} cells, but the header has {width}: {','.join(cells)[:80]!r}; "
            "quote a cell that holds the separator"
        )
    return cells[:width]


def _arrow(file: Path, table: Path) -> Iterator[TableRow]:
    with file.open("rb") as stream, opened(stream, str(file)) as reader:
        own = list(reader.schema.names)
        folders = _folder_columns(file, table, own)
        at = _places(file, [*own, *folders], "its columns")
        columns = {name: own[place] for name, place in at.items() if place < len(own)}
        fixed = {
            name: [*folders.values()][at[name] - len(own)] for name in at if name not in columns
        }
        is_list = "label" in columns and arrow_cells.is_list(
            arrow_cells.storage(reader.schema.field(columns["label"]).type)
        )
        number = 0
        for batch in reader.batches(list(columns.values())):
            cells: dict[str, list[Any]] = {
                name: _column(reader, batch.column(column), name, column, file)
                for name, column in columns.items()
            }
            cells |= {name: [value] * len(batch) for name, value in fixed.items()}
            for row in range(len(batch)):
                number += 1
                where = f"{file}, row {number}"
                split = str(cells["split"][row] or "").strip().lower() if "split" in at else None
                label = checked_label(cells["label"][row], where)
                yield TableRow(where, cells["path"][row] or "", label, split, is_list)


def _column(reader: ArrowReader, array: Any, role: str, column: str, file: Path) -> list[Any]:
    """The cells of a batch as text."""
    kind = arrow_cells.storage(array.type)
    if role == "label" and arrow_cells.is_label(array.type):
        names = arrow_cells.class_names(reader.schema, column)
        try:
            found = arrow_cells.labels(array, names)
        except DataError as error:
            raise DataError(f"{file}: {error}") from error
        if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            _check_whole(found, file)
        return found
    if role != "label" and (arrow_cells.is_text(kind) or arrow_cells.is_binary(kind)):
        return arrow_cells.texts(array)
    wanted = "text, a whole number or a list of these" if role == "label" else "text"
    raise DataError(
        f"{file}: the column {column!r} must hold {wanted}, but is of type {array.type}"
    )


def _check_whole(labels: list[str], file: Path) -> None:
    for label in labels:
        if label and not WHOLE.fullmatch(label):
            raise DataError(
                f"{file}: the label {label} is not a class: classes are whole numbers or text"
            )


def _places(file: Path, header: list[str], where: str = "line 1: the header") -> dict[str, int]:
    """The index of each known column in the header."""
    why = "training reads one of each"
    found = {name: find(str(file), header, name, why) for name in COLUMNS}
    if found["path"] is None:
        found["path"] = pick(str(file), header, None, PATH_COLUMNS, why)
    at = {name: place for name, place in found.items() if place is not None}
    if missing := [name for name in ("path", "label") if name not in at]:
        there = listed(header) if header else "an empty line"
        raise DataError(
            f"{file}, {where} must name path and label, perhaps split, but "
            f"{' and '.join(missing)} is missing from {there!r}"
        )
    return at
