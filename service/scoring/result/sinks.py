"""Results in their final format: Parquet, Arrow, CSV, JSON Lines."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Protocol, cast

import pyarrow as pa

from service.console.nearest import with_hint
from service.errors import UsageError
from service.tabular.arrow import ipc, pq

DIGITS = 7
"""The decimal digits that float32 holds."""


class Sink(Protocol):
    """Takes the rows in order. The file is complete after `close`."""

    def write(self, rows: pa.Table) -> None: ...

    def close(self) -> None: ...


class ParquetSink:
    """zstd, typed, with a checksum for each page. The schema's metadata record the run."""

    def __init__(self, stream: IO[bytes], columns: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(
            stream, columns, compression="zstd", write_page_checksum=True
        )

    def write(self, rows: pa.Table) -> None:
        self._writer.write_table(rows)

    def close(self) -> None:
        self._writer.close()


class ArrowSink:
    """Arrow's file format (Feather), uncompressed so that it can be mapped into memory."""

    def __init__(self, stream: IO[bytes], columns: pa.Schema) -> None:
        self._writer = ipc.new_file(stream, columns)

    def write(self, rows: pa.Table) -> None:
        self._writer.write_table(rows)

    def close(self) -> None:
        self._writer.close()


class JsonLinesSink:
    """One JSON object in every line."""

    def __init__(self, stream: IO[bytes], columns: pa.Schema) -> None:
        self._stream = stream

    def write(self, rows: pa.Table) -> None:
        for record in rows.to_pylist():
            line = json.dumps(
                {name: _rounded(value) for name, value in record.items()},
                ensure_ascii=False,
                separators=(",", ":"),
            )
            self._stream.write(line.encode() + b"\n")

    def close(self) -> None:
        self._stream.flush()


class CsvSink:
    """RFC 4180 with a header; a list is JSON in its cell."""

    def __init__(self, stream: IO[bytes], columns: pa.Schema) -> None:
        self._stream = stream
        self._line(columns.names)

    def write(self, rows: pa.Table) -> None:
        for record in rows.to_pylist():
            values = (_rounded(value) for value in record.values())
            self._line([json.dumps(v) if isinstance(v, list) else v for v in values])

    def close(self) -> None:
        self._stream.flush()

    def _line(self, cells: list[Any]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text).writerow(cells)
        self._stream.write(text.getvalue().encode())


def _rounded(value: Any) -> Any:
    """float32 as text, without meaningless digits."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, list):
        return [_rounded(one) for one in cast("list[Any]", value)]
    return value


SINKS: dict[str, Callable[[IO[bytes], pa.Schema], Sink]] = {
    ".parquet": ParquetSink,
    ".csv": CsvSink,
    ".jsonl": JsonLinesSink,
    ".ndjson": JsonLinesSink,
    ".arrow": ArrowSink,
    ".feather": ArrowSink,
}


def sink_for(output: str) -> Callable[[IO[bytes], pa.Schema], Sink]:
    """The sink for the suffix of a name.

    Raises:
        UsageError: no sink has this suffix.
    """
    for suffix, sink in SINKS.items():
        if output.lower().endswith(suffix):
            return sink
    message = f"cannot write {output}: the suffix must be one of {', '.join(SINKS)}, or -"
    raise UsageError(with_hint(message, Path(output).suffix, SINKS))
