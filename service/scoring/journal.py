"""Finished rows on disk, so that a run that was killed goes on where it stopped.

Beside OUT lies the folder OUT.partial while a run is unfinished:

    lock                 held (flock) by the one run that may write
    settings.json        what is being run; another command is refused
    part-000000064.parquet   rows from the 64th on; written aside, synced, then renamed
    result, done.json    the merged result just before it takes the name OUT
"""

import errno
import fcntl
import json
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa

from service.errors import OutputError
from service.scoring.arrow import pq
from service.scoring.item import Position

PART_KEY = b"quincunx.part"
RESULT_ROWS = 16_384
"""Rows of a group in the result: fixed, so that the file does not show where a run was cut."""


@dataclass(frozen=True)
class Done:
    """How far the parts reach."""

    rows: int
    next: Position
    last_path: str | None
    """The path of the last finished image, to notice a source that has changed since."""


class Journal:
    """The OUT.partial folder, locked for as long as this object is open."""

    def __init__(self, folder: Path, lock: IO[bytes]) -> None:
        self.folder = folder
        self._lock = lock
        self._parts: list[Path] = []
        self.done = Done(0, Position(0, 0), None)

    @classmethod
    def open(cls, folder: Path, settings: dict[str, Any], *, restart: bool = False) -> "Journal":
        """Create the folder, or take up what an earlier run of the same settings left.

        Raises:
            OutputError: it cannot be written, another run holds it, or it holds other settings.
        """
        with readable_errors(folder):
            journal = cls(folder, _lock(folder))
            try:
                journal._begin(settings, restart)
            except BaseException:
                journal.close()
                raise
        return journal

    @property
    def result(self) -> Path:
        return self.folder / "result"

    def close(self) -> None:
        """Let go of the lock."""
        self._lock.close()

    def append(self, rows: pa.Table, next_position: Position, last_path: str) -> None:
        """Make rows durable.

        Raises:
            OutputError: they cannot be written.
        """
        done = Done(self.done.rows + len(rows), next_position, last_path)
        about = json.dumps([self.done.rows, done.rows, *next_position, last_path]).encode()
        path = self.folder / f"part-{self.done.rows:012d}.parquet"
        with readable_errors(path), _replacing(path) as stream:
            columns = rows.replace_schema_metadata({PART_KEY: about})
            pq.write_table(columns, stream, compression="zstd")
        self._parts.append(path)
        self.done = done

    def tables(self) -> Iterator[pa.Table]:
        """All finished rows in order, `RESULT_ROWS` at a time."""
        held: list[pa.Table] = []
        count = 0
        for path in self._parts:
            part = pq.read_table(path).replace_schema_metadata(None)
            while count + len(part) >= RESULT_ROWS:
                fits = RESULT_ROWS - count
                yield pa.concat_tables([*held, part.slice(0, fits)]).combine_chunks()
                held, count, part = [], 0, part.slice(fits)
            held.append(part)
            count += len(part)
        if count:
            yield pa.concat_tables(held).combine_chunks()

    @contextmanager
    def writing_result(self) -> Generator[IO[bytes]]:
        """The result's file, aside: whole once the block has ended.

        Raises:
            OutputError: it cannot be written.
        """
        with readable_errors(self.result), _replacing(self.result) as stream:
            yield stream

    def mark_done(self, summary: dict[str, Any]) -> None:
        """From here on only the renaming is left, whoever does it."""
        with readable_errors(self.folder):
            _write_json(self.folder / "done.json", summary)

    def summary_of_done(self) -> dict[str, Any] | None:
        """What `mark_done` wrote, where an earlier run came so far."""
        path = self.folder / "done.json"
        return json.loads(path.read_bytes()) if path.exists() else None

    def remove(self) -> None:
        """Delete the folder, `done.json` last: a kill in between is still a finished run."""
        last = self.folder / "done.json"
        with readable_errors(self.folder):
            for path in self.folder.iterdir():
                if path != last:
                    path.unlink()
            last.unlink(missing_ok=True)
            self.folder.rmdir()

    def _begin(self, settings: dict[str, Any], restart: bool) -> None:
        path = self.folder / "settings.json"
        if restart:
            for left in self.folder.iterdir():
                if left.name != "lock":
                    left.unlink()
        if not path.exists():
            _write_json(path, settings)
            return
        was: dict[str, Any] = json.loads(path.read_bytes())
        if changed := _differences(was, json.loads(json.dumps(settings))):
            raise OutputError(
                f"{self.folder} holds an unfinished run with other settings: {'; '.join(changed)}. "
                "Repeat that command to finish it, or start anew (--restart)"
            )
        self._take_up()

    def _take_up(self) -> None:
        for stray in self.folder.glob("*.tmp"):
            stray.unlink()
        for path in sorted(self.folder.glob("part-*.parquet")):
            metadata: dict[bytes, bytes] = pq.read_schema(path).metadata or {}
            about = metadata.get(PART_KEY)
            first, rows, source, image, last = json.loads(about) if about else (-1, 0, 0, 0, None)
            if first != self.done.rows:
                raise OutputError(
                    f"{path} does not follow the rows before it, of which there are "
                    f"{self.done.rows}; start anew (--restart)"
                )
            self._parts.append(path)
            self.done = Done(rows, Position(source, image), last)


def _lock(folder: Path) -> IO[bytes]:
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "lock"
        try:
            lock = path.open("ab")
        except FileNotFoundError:
            continue  # the run before us has just removed its folder
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                return lock
        except BlockingIOError:
            lock.close()
            raise OutputError(f"another run is writing into {folder}") from None
        lock.close()


@contextmanager
def _replacing(path: Path) -> Generator[IO[bytes]]:
    """Write aside, sync, rename: `path` is there whole or not at all, also after a power cut."""
    aside = path.with_name(f"{path.name}.tmp")
    try:
        with aside.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)  # room for others, where the disk is full
        raise


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with _replacing(path) as stream:
        stream.write(json.dumps(content, indent=1).encode())


def _differences(was: dict[str, Any], now: dict[str, Any], prefix: str = "") -> list[str]:
    found: list[str] = []
    for key in sorted(was.keys() | now.keys()):
        old, new = was.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            inner = cast("tuple[dict[str, Any], dict[str, Any]]", (old, new))
            found += _differences(*inner, prefix=f"{prefix}{key}.")
        elif old != new:
            found.append(f"{prefix}{key} was {old}, now {new}")
    return found


@contextmanager
def readable_errors(path: Path) -> Generator[None]:
    """Say what could not be written, and what to do, where the operating system refuses."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise OutputError(
                f"{path} cannot be written: {error.strerror}. The finished rows are kept: free "
                "some space and run the same command again"
            ) from error
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
