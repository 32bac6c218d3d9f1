"""Parts of an unfinished run: Parquet files whose names hold their digests.

A part holds the columns of the result and, beside them, the traces of its rows. Its name is
`part-<first row>-<digest of the file>.parquet`, so a part that was cut or altered is noticed.
"""

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from service.errors import OutputError
from service.listing.skipped import Skipped
from service.scoring.item import Position
from service.scoring.resume.trace import Trace
from service.scoring.rows import Row, table
from service.tabular.arrow import pq

FORMAT = 3
PART_KEY = b"quincunx.part"
DIGEST_DIGITS = 32
TRACES = pa.schema(
    [
        ("_source", pa.int32()),
        ("_content", pa.binary(32)),
        ("_stamp", pa.string()),
        ("_embedded", pa.bool_()),
        ("_given", pa.string()),
    ]
)
PATTERN = "part-*.parquet"


class Recorded(NamedTuple):
    """A finished row, in the form that a later run compares with the source."""

    source: int
    path: str
    """As the result shows it."""
    trace: Trace


@dataclass(frozen=True)
class Span:
    """The rows of a part, and where the next part begins."""

    first: int
    rows: int
    next: Position
    skipped: Skipped
    """The skipped files of all sources before that of `next`."""


def encoded(
    rows: Sequence[Row], schema: pa.Schema, first: int, run: str, skipped: Skipped
) -> tuple[str, bytes]:
    """The name and the bytes of a part; `run` is the digest of the run's settings."""
    last = rows[-1].position
    about = {
        "format": FORMAT,
        "run": run,
        "first": first,
        "rows": len(rows),
        "next": [last.source, last.image + 1],
        "skipped": skipped.as_json(),
    }
    content = table(list(rows), schema)
    traces = pa.Table.from_pylist([_traced(row) for row in rows], TRACES)
    for name in TRACES.names:
        content = content.append_column(name, traces[name])
    stream = io.BytesIO()
    written = content.replace_schema_metadata({PART_KEY: json.dumps(about).encode()})
    pq.write_table(written, stream, compression="zstd")
    data = stream.getvalue()
    return f"part-{first:012d}-{_digest(data)}.parquet", data


def read(path: Path, run: str) -> tuple[Span, pa.Table]:
    """Read a part and check that it is complete.

    Raises:
        OutputError: it was cut or altered, or another version or another run wrote it.
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    if path.stem.rpartition("-")[2] != _digest(data):
        raise OutputError(
            f"{path} is damaged: its content does not match the digest in its name. Start again "
            "(--restart)"
        )
    content: pa.Table = pq.read_table(io.BytesIO(data))
    metadata: dict[bytes, bytes] = content.schema.metadata or {}
    about: dict[str, Any] = json.loads(metadata.get(PART_KEY, b"{}"))
    if about.get("format") != FORMAT:
        raise OutputError(f"{path} is of another version of Quincunx. Start again (--restart)")
    if about["run"] != run:
        raise OutputError(f"{path} belongs to a run with other settings. Start again (--restart)")
    skipped = Skipped.from_json(about["skipped"])
    span = Span(about["first"], about["rows"], Position(*about["next"]), skipped)
    return span, content.replace_schema_metadata(None)


def result_columns(content: pa.Table) -> pa.Table:
    """The columns of the result."""
    return content.drop_columns(TRACES.names)


def records(content: pa.Table) -> Iterator[Recorded]:
    """The rows of a part, in the form that a later run compares."""
    for row in content.select(["path", *TRACES.names]).to_pylist():
        trace = Trace(row["_content"], row["_stamp"], row["_embedded"], row["_given"])
        yield Recorded(row["_source"], row["path"], trace)


def _traced(row: Row) -> dict[str, Any]:
    trace = row.trace
    if trace is None:
        raise ValueError(f"the row of {row.path} has no trace")
    return {
        "_source": row.position.source,
        "_content": trace.content,
        "_stamp": trace.stamp,
        "_embedded": trace.embedded,
        "_given": trace.given,
    }


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:DIGEST_DIGITS]
