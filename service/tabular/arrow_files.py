"""Parquet and Arrow files, read in small batches of rows."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any, Protocol

import pyarrow as pa

from service.errors import DataError
from service.tabular.arrow import ipc, pq

BATCH_ROWS = 64
BROKEN = (pa.ArrowException, OSError, UnicodeDecodeError, MemoryError)
"""Errors of reading a damaged file. A damaged length may cause a MemoryError."""


class ArrowReader(Protocol):
    """An open table."""

    schema: pa.Schema
    rows: int | None
    """None if the number is unknown before reading."""

    def batches(self, columns: Sequence[str], skip: int = 0) -> Iterator[pa.RecordBatch]:
        """The rows after the first `skip`, at most `BATCH_ROWS` in a batch."""
        ...


@contextmanager
def opened(stream: IO[bytes], name: str) -> Generator[ArrowReader]:
    """Open a Parquet file, by its suffix or its first bytes, or a file or stream of Arrow's.

    Raises:
        DataError: it is none of these, or damaged. If a batch is damaged, reading it raises one of
            `BROKEN`.
    """
    try:
        parquet = name.lower().endswith(".parquet") or stream.read(4) == b"PAR1"
        stream.seek(0)
        reader: ArrowReader = _Parquet(stream) if parquet else _Arrow(stream)
    except BROKEN as error:
        raise DataError(f"{name} cannot be read: {error}") from error
    yield reader


class _Parquet:
    def __init__(self, stream: IO[bytes]) -> None:
        self._file = pq.ParquetFile(stream, pre_buffer=False)
        self.schema: pa.Schema = self._file.schema_arrow
        self.rows: int | None = self._file.metadata.num_rows

    def batches(self, columns: Sequence[str], skip: int = 0) -> Iterator[pa.RecordBatch]:
        """Row groups that lie wholly before `skip` are not read."""
        groups: list[int] = []
        for group in range(self._file.num_row_groups):
            rows = self._file.metadata.row_group(group).num_rows
            if not groups and skip >= rows:
                skip -= rows
            else:
                groups.append(group)
        read = self._file.iter_batches(BATCH_ROWS, row_groups=groups, columns=list(columns))
        return _after(read, skip)


class _Arrow:
    """Arrow's file format, or its stream format, read batch by batch."""

    def __init__(self, stream: IO[bytes]) -> None:
        try:
            self._file: Any = ipc.open_file(stream)
        except pa.ArrowInvalid:
            stream.seek(0)
            self._file = ipc.open_stream(stream)
        self.schema: pa.Schema = self._file.schema
        self.rows: int | None = None

    def batches(self, columns: Sequence[str], skip: int = 0) -> Iterator[pa.RecordBatch]:
        return _after((_validated(batch.select(list(columns))) for batch in self._read()), skip)

    def _read(self) -> Iterator[pa.RecordBatch]:
        if isinstance(self._file, ipc.RecordBatchFileReader):
            for number in range(self._file.num_record_batches):
                yield self._file.get_batch(number)
        else:
            yield from self._file


def _validated(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Check the offsets: Arrow does not, so a damaged one would read other memory."""
    batch.validate(full=True)
    return batch


def _after(batches: Iterator[pa.RecordBatch], skip: int) -> Iterator[pa.RecordBatch]:
    """Drop the first `skip` rows, and cut the others into small batches."""
    for batch in batches:
        for start in range(min(skip, len(batch)), len(batch), BATCH_ROWS):
            yield batch.slice(start, BATCH_ROWS)
        skip = max(0, skip - len(batch))
