"""The feedback log: Parquet files in a folder that several processes and machines may share.

Parquet files cannot grow. So each process keeps the rows of its current file in memory, and
replaces the file in one step for each new row, or for the rows that arrived during the last write.
A row is on the disk before its request is answered, every file can be read at any time, and nothing
has to be repaired after a crash.
"""

import asyncio
import io
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from service.errors import FeedbackNotStored
from service.feedback.row import FeedbackRow, table_of
from service.replacing import replacing_file
from service.tabular.arrow import pq

ROWS_PER_FILE = 1000
STALE_S = 3600.0
"""A temporary file of this age belongs to a process that died while it wrote."""

Clock = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class _Entry:
    row: FeedbackRow
    done: bool = False
    error: Exception | None = None


@dataclass
class _File:
    """The file that is being filled."""

    path: Path
    day: str
    rows: list[FeedbackRow] = field(default_factory=list[FeedbackRow])
    size_bytes: int = 0


class FeedbackLog:
    """Appends rows to the Parquet files of a folder. One object for each process."""

    def __init__(self, folder: Path, max_bytes: int, clock: Clock = _now) -> None:
        """`max_bytes`: of all files in the folder together, those of other processes too."""
        self.folder = folder
        self._max_bytes = max_bytes
        self._clock = clock
        self._file: _File | None = None
        self._writing = Lock()
        self._waiting: list[_Entry] = []
        self._turn = asyncio.Lock()

    def open(self) -> None:
        """Make the folder, check that files can be written there, and remove stale ones.

        Raises:
            OSError: no file can be written there.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        probe = self.folder / f".quincunx-{uuid.uuid4().hex}.tmp"
        probe.touch()
        probe.unlink()
        for path in self.folder.glob("feedback-*.parquet*.tmp"):
            try:
                if path.stat().st_mtime < time.time() - STALE_S:
                    path.unlink()
            except OSError:  # another process was first
                continue

    async def append(self, row: FeedbackRow) -> None:
        """Store a row; it is on the disk afterwards. Rows that wait together are written together.

        Raises:
            FeedbackNotStored: the limit on the bytes of the folder is reached, or the folder cannot
                be written.
        """
        entry = _Entry(row)
        self._waiting.append(entry)
        # Shielded: a request that is cancelled must not end the write of others.
        await asyncio.shield(asyncio.ensure_future(self._written(entry)))

    async def _written(self, entry: _Entry) -> None:
        async with self._turn:
            if not entry.done:
                entries, self._waiting = self._waiting, []
                error: Exception | None = None
                try:
                    await asyncio.to_thread(self.write, [one.row for one in entries])
                except Exception as failed:  # no memory, for example: no row was stored
                    error = failed
                for one in entries:
                    one.done, one.error = True, error
        if entry.error is not None:
            raise entry.error

    def write(self, rows: list[FeedbackRow]) -> None:
        """Add rows to the current file, or to a new one if it is full or of another day (UTC).

        Raises:
            FeedbackNotStored: see `append`. The rows that were stored before are kept.
        """
        with self._writing:
            try:
                self._write(rows)
            except OSError as error:
                raise FeedbackNotStored(
                    f"feedback cannot be stored: {error.strerror or error}; the operator should "
                    "look at the folder of QUINCUNX_FEEDBACK_FOLDER"
                ) from error

    def _write(self, rows: list[FeedbackRow]) -> None:
        day = self._clock().strftime("%Y%m%d")
        file = self._file
        full = file is not None and (file.day != day or len(file.rows) >= ROWS_PER_FILE)
        if file is None or full or not file.path.exists():  # an operator may move it away
            file = _File(self.folder / f"feedback-{day}-{uuid.uuid4().hex}.parquet", day)
        kept = [*file.rows, *rows]
        buffer = io.BytesIO()
        pq.write_table(table_of(kept), buffer, compression="zstd")
        data = buffer.getvalue()
        others = self._used_bytes() - file.size_bytes
        if others + len(data) > self._max_bytes:
            raise FeedbackNotStored(
                f"feedback cannot be stored: the log has {others + file.size_bytes} bytes and the "
                f"limit is {self._max_bytes} (QUINCUNX_FEEDBACK_MAX_BYTES); the operator should "
                "move old files away or raise the limit"
            )
        with replacing_file(file.path) as stream:
            stream.write(data)
        file.rows, file.size_bytes = kept, len(data)
        self._file = file

    def _used_bytes(self) -> int:
        """Bytes of the log of all processes."""
        total = 0
        for path in self.folder.glob("feedback-*"):
            try:
                total += path.stat().st_size
            except OSError:  # moved away meanwhile
                continue
        return total
