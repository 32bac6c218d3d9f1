"""Read the feedback log: one Parquet file, or all files of a folder."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from service.errors import DataError
from service.feedback.row import COLUMNS, FeedbackRow
from service.tabular.arrow import pq


def read_feedback(source: Path) -> list[FeedbackRow]:
    """The feedback in a file or a folder, in the order of time.

    If there is feedback about one answer several times, the latest counts. An answer that a client
    sent along is the answer with the same request id, image, model and class.

    Raises:
        DataError: there is no file, or one that is not a feedback log.
    """
    paths = sorted(source.glob("*.parquet")) if source.is_dir() else [source]
    if not paths:
        raise DataError(f"{source} has no Parquet files: no feedback was given yet")
    rows = sorted((row for path in paths for row in _rows(path)), key=lambda row: row.time)
    times = {_facts(row): row.answer.answered_s for row in rows if row.answer and _time(row)}
    answers = [(row.request_id, row.image, _time(row) or times.get(_facts(row))) for row in rows]
    latest = dict(zip(answers, rows, strict=True))
    return [row for answer, row in zip(answers, rows, strict=True) if latest[answer] is row]


def _time(row: FeedbackRow) -> float | None:
    """When the answer was given. Clients may use a request id again, and this tells them apart.

    It is not known of an answer that a client sent along after the server had forgotten it.
    """
    return row.answer.answered_s if row.answer else None


def _facts(row: FeedbackRow) -> tuple[object, ...]:
    """What is equal in two rows about one answer, even if only one has its time."""
    answer = row.answer
    return row.request_id, row.image, answer and (answer.model, answer.label)


def _rows(path: Path) -> Iterator[FeedbackRow]:
    try:
        table: pa.Table = pq.ParquetFile(path).read()
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}") from error
    missing = [name for name in COLUMNS.names if name not in table.column_names]
    if missing:
        raise DataError(f"{path} is not a feedback log: it has no column {missing[0]!r}")
    try:
        # As the columns are nullable in Parquet, foreign files may lack values that rows need.
        listed = table.select(COLUMNS.names).cast(COLUMNS).to_pylist()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"{path} is not a feedback log: {error}") from error
    for number, values in enumerate(listed):
        needed = ("time", "request_id", "image", "foreign")
        if any(values[name] is None for name in needed):
            raise DataError(f"{path}: row {number} has no {', '.join(needed)}")
        yield FeedbackRow.of(values)
