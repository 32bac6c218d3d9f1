"""Leaves of Parquet and Arrow tables: a column of image bytes, or one of paths."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa

from service.errors import TooLarge, UsageError
from service.scoring.arrow import ipc, pq
from service.scoring.files import check_length, is_file, join, open_binary, parent
from service.scoring.item import Item
from service.scoring.sources.leaf import Columns
from service.scoring.sources.lists import PATH_COLUMNS, pick

IMAGE_COLUMNS = ("image", "bytes", "image_bytes", "img", "jpg", "jpeg", "png", "content", "data")
BATCH_ROWS = 64


@dataclass(frozen=True)
class _Roles:
    """The columns to read, by what they mean."""

    image: str | None
    path: str | None
    label: str | None

    @property
    def names(self) -> list[str]:
        return [name for name in (self.image, self.path, self.label) if name is not None]


@dataclass(frozen=True)
class Table:
    """A Parquet or Arrow file; the image column is binary, or a struct with a field `bytes`."""

    name: str
    columns: Columns

    def check(self) -> None:
        if not is_file(self.name):
            raise UsageError(f"no file {self.name}")
        with _reader(self.name) as reader:
            self._roles(reader.schema)

    def items(self, skip: int = 0) -> Iterator[Item]:
        with _reader(self.name) as reader:
            roles = self._roles(reader.schema)
            row = skip
            try:
                for batch in reader.batches(roles.names, skip):
                    for record in batch.to_pylist():
                        yield self._item(record, roles, row)
                        row += 1
            except (pa.ArrowException, OSError) as error:
                yield Item(
                    self.name, error=f"DataError: the table breaks off at row {row}: {error}"
                )

    def count(self) -> int | None:
        with _reader(self.name) as reader:
            return reader.rows

    def _item(self, record: dict[str, Any], roles: _Roles, row: int) -> Item:
        value: Any = record[roles.image] if roles.image else None
        path: str | None = record[roles.path] if roles.path else None
        if isinstance(value, dict):  # as Hugging Face's `datasets` stores an image
            image = cast("dict[str, Any]", value)
            path, value = path or image.get("path"), image["bytes"]
        label = None
        if roles.label:
            label = "" if record[roles.label] is None else str(record[roles.label])
        if value is None and roles.image is None and path is not None:
            return Item(join(self.columns.root or parent(self.name), path), label=label)
        name = path or f"{self.name}#{row}"
        if value is None:
            return Item(name, label=label, error="DataError: the row has no image")
        try:
            check_length(len(value))
        except TooLarge as error:
            return Item(name, label=label, error=f"TooLarge: {error}")
        return Item(name, data=value, label=label)

    def _roles(self, schema: pa.Schema) -> _Roles:
        kinds: dict[str, Any] = dict(zip(schema.names, schema.types, strict=True))
        binary = [name for name, kind in kinds.items() if _holds_bytes(kind)]
        text = [name for name, kind in kinds.items() if _is_text(kind)]
        image = pick(self.name, binary, self.columns.image, IMAGE_COLUMNS, "--image-column")
        if image is None and self.columns.path is None and len(binary) == 1:
            image = binary[0]
        path = pick(self.name, text, self.columns.path, PATH_COLUMNS, "--path-column")
        if image is None and path is None:
            if len(text) != 1:
                raise UsageError(
                    f"{self.name} has the columns {', '.join(schema.names)}; which holds the "
                    "images (--image-column) or their paths (--path-column)?"
                )
            path = text[0]
        label = pick(self.name, schema.names, self.columns.label, (), "--label-column")
        return _Roles(image, path, label)


def _holds_bytes(kind: Any) -> bool:
    if pa.types.is_struct(kind):
        struct: Any = kind
        return any(field.name == "bytes" and _holds_bytes(field.type) for field in struct.fields)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _is_text(kind: Any) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


class _Parquet:
    def __init__(self, stream: Any) -> None:
        self._file = pq.ParquetFile(stream, pre_buffer=False)
        self.schema: pa.Schema = self._file.schema_arrow
        self.rows: int | None = self._file.metadata.num_rows

    def batches(self, columns: list[str], skip: int) -> Iterator[pa.RecordBatch]:
        """Row groups that lie wholly before `skip` are not read."""
        groups: list[int] = []
        for group in range(self._file.num_row_groups):
            rows = self._file.metadata.row_group(group).num_rows
            if not groups and skip >= rows:
                skip -= rows
            else:
                groups.append(group)
        read = self._file.iter_batches(BATCH_ROWS, row_groups=groups, columns=columns)
        return _after(read, skip)


class _Arrow:
    """Arrow's file format, read batch by batch; the stream format where it is that."""

    def __init__(self, stream: Any) -> None:
        try:
            self._file = ipc.open_file(stream)
        except pa.ArrowInvalid:
            stream.seek(0)
            self._file = ipc.open_stream(stream)
        self.schema: pa.Schema = self._file.schema
        self.rows: int | None = None

    def batches(self, columns: list[str], skip: int) -> Iterator[pa.RecordBatch]:
        return _after((batch.select(columns) for batch in self._read()), skip)

    def _read(self) -> Iterator[pa.RecordBatch]:
        if isinstance(self._file, ipc.RecordBatchFileReader):
            for number in range(self._file.num_record_batches):
                yield self._file.get_batch(number)
        else:
            yield from self._file


def _after(batches: Iterator[pa.RecordBatch], skip: int) -> Iterator[pa.RecordBatch]:
    """Drop the first `skip` rows, and cut what is left into small batches."""
    for batch in batches:
        for start in range(min(skip, len(batch)), len(batch), BATCH_ROWS):
            yield batch.slice(start, BATCH_ROWS)
        skip = max(0, skip - len(batch))


@contextmanager
def _reader(path: str) -> Generator[_Parquet | _Arrow]:
    with open_binary(path) as stream:
        try:
            reader = _Parquet(stream) if path.lower().endswith(".parquet") else _Arrow(stream)
        except pa.ArrowInvalid as error:
            raise UsageError(f"{path} cannot be read: {error}") from error
        yield reader
