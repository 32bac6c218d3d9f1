"""Finished rows on disk, so that a killed run can continue where it stopped.

Beside OUT lies the folder OUT.partial while a run is unfinished:

    lock                  held (flock) by the one run that may write
    settings.json         what is being run; another command is refused
    part-000000000064-<digest>.parquet
                          rows from the 64th on; written aside, synced, then renamed
    result, done.json     the merged result just before it takes the name OUT
    uploading             OUT is a URL, and the upload of the result has begun

Everything but the lock carries a digest. A file that was cut or altered is an error, never a row.
"""

import fcntl
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa

from service.errors import OutputError
from service.listing.skipped import Skipped
from service.replacing import replaced_by, replacing_file
from service.scoring.item import Position
from service.scoring.result import parts
from service.scoring.result.durable import (
    digest_of,
    read_json,
    readable,
    readable_errors,
    write_json,
)
from service.scoring.rows import Row

RESULT_ROWS = 16_384
"""Rows of a group in the result. It is fixed, so an interruption does not change the file."""
LOCK_TRIES = 100
OWN_NAMES = frozenset({"settings.json", "result", "done.json", "uploading"})


def _is_own(name: str) -> bool:
    return name in OWN_NAMES or Path(name).match(parts.PATTERN)


class Journal:
    """The OUT.partial folder, locked for as long as this object is open."""

    def __init__(self, folder: Path, lock: IO[bytes], settings: dict[str, Any]) -> None:
        self.folder = folder
        self.rows = 0
        """Finished rows."""
        self.next = Position(0, 0)
        """The image after the last finished row."""
        self.skipped = Skipped()
        """The skipped files of the sources before that of `next`."""
        self._lock = lock
        self._settings = settings
        self._run = digest_of(settings)
        self._parts: list[Path] = []

    @classmethod
    def open(cls, folder: Path, settings: dict[str, Any], *, restart: bool = False) -> "Journal":
        """Create the folder, or continue with the rows of an earlier run of the same settings.

        Raises:
            OutputError: it cannot be written, another run holds it, it holds other settings, or
                some of it is damaged.
        """
        with readable_errors(folder):
            journal = cls(folder, lock(folder / "lock", f"{folder}"), settings)
        try:
            if restart:
                journal.clear()
            else:
                journal._take_up()
        except BaseException:
            journal.close()
            raise
        return journal

    @property
    def result(self) -> Path:
        return self.folder / "result"

    @property
    def _done(self) -> Path:
        return self.folder / "done.json"

    @property
    def _uploading(self) -> Path:
        return self.folder / "uploading"

    @property
    def is_empty(self) -> bool:
        """Whether the folder holds nothing that could be lost."""
        return self.rows == 0 and self.folder.exists() and not self._done.exists()

    def close(self) -> None:
        """Release the lock."""
        self._lock.close()

    def append(self, rows: list[Row], schema: pa.Schema, skipped: Skipped) -> None:
        """Store rows durably, with the skipped files of the sources before that of the last row.

        Raises:
            OutputError: they cannot be written.
        """
        name, data = parts.encoded(rows, schema, self.rows, self._run, skipped)
        path = self.folder / name
        with readable_errors(path), replacing_file(path) as stream:
            stream.write(data)
        self._parts.append(path)
        self.rows += len(rows)
        last = rows[-1].position
        self.next = Position(last.source, last.image + 1)

    def contents(self) -> Iterator[pa.Table]:
        """Every part in order: the columns of the result and the traces.

        Raises:
            OutputError: a part cannot be read, or was altered since it was taken up.
        """
        for path in self._parts:
            with readable(path):
                yield parts.read(path, self._run)[1]

    def records(self) -> Iterator[parts.Recorded]:
        """Every finished row, in the form that is compared with the sources."""
        for content in self.contents():
            yield from parts.records(content)

    def tables(self) -> Iterator[pa.Table]:
        """All finished rows in order, `RESULT_ROWS` at a time, with their traces."""
        held: list[pa.Table] = []
        count = 0
        for part in self.contents():
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
        """The result's file under a temporary name. It is complete when the block has ended.

        Raises:
            OutputError: it cannot be written.
        """
        with readable_errors(self.result), replacing_file(self.result) as stream:
            yield stream

    def mark_done(self, about: dict[str, Any]) -> None:
        """Record that only the renaming is left. This run or a later one does it."""
        with readable_errors(self.folder):
            write_json(self._done, {**about, "settings": self._settings})

    def about_done(self) -> dict[str, Any] | None:
        """What `mark_done` wrote; None if no earlier run has called it.

        Raises:
            OutputError: it is damaged.
        """
        with readable(self._done):
            return read_json(self._done) if self._done.exists() else None

    @property
    def upload_began(self) -> bool:
        """Whether an earlier run has begun to upload this result."""
        return self._uploading.exists()

    def mark_upload(self) -> None:
        """Record that a file at the URL may be this result, or a part of it."""
        with readable_errors(self.folder):
            self._uploading.touch()

    def clear(self) -> None:
        """Delete every finished row.

        Raises:
            OutputError: the folder cannot be written.
        """
        with readable_errors(self.folder):
            for left in sorted(self._own_files()):  # parts before the settings
                left.unlink()
            write_json(self.folder / "settings.json", self._settings)
        self._parts, self.rows, self.next, self.skipped = [], 0, Position(0, 0), Skipped()

    def remove(self) -> None:
        """Delete the folder, `done.json` last: a kill in between is still a finished run."""
        with readable_errors(self.folder):
            for path in self._own_files():
                if path != self._done:
                    path.unlink()
            self._done.unlink(missing_ok=True)
            (self.folder / "lock").unlink(missing_ok=True)
            with suppress(OSError):  # the folder may hold files of others
                self.folder.rmdir()

    def _own_files(self) -> list[Path]:
        """The files that a run has written here, except the lock. Files of others stay."""
        return [
            path
            for path in self.folder.iterdir()
            if _is_own(path.name) or _is_own(replaced_by(path.name) or "")
        ]

    def _take_up(self) -> None:
        done, path = self.about_done(), self.folder / "settings.json"
        with readable(self.folder):
            there = sorted(self.folder.iterdir())
        found = [one for one in there if one.match(parts.PATTERN)]
        if done is None and path not in there:
            if found:
                raise OutputError(f"{path} is missing. Start again (--restart)")
            self.clear()
            return
        with readable(path):
            was = read_json(path) if done is None else done["settings"]
        if changed := differences(was, self._settings):
            raise OutputError(
                f"{self.folder} holds an unfinished run with other settings: {'; '.join(changed)}. "
                "Repeat that command to finish it, or start again (--restart)"
            )
        with readable_errors(self.folder):
            for stray in self._own_files():
                if stray.suffix == ".tmp":
                    stray.unlink()
        for path in found if done is None else ():  # the rows of a finished run are its result
            with readable(path):
                span = parts.read(path, self._run)[0]
            if span.first != self.rows:
                raise OutputError(
                    f"{path} does not follow the rows before it, of which there are {self.rows}: "
                    "a part is missing. Start again (--restart)"
                )
            self._parts.append(path)
            self.rows += span.rows
            self.next, self.skipped = span.next, span.skipped


def lock(path: Path, name: str) -> IO[bytes]:
    """Lock a file that is removed when its run ends. It and its folders are made if necessary.

    Raises:
        OutputError: another run holds it.
        OSError: it cannot be made.
    """
    for tries_left in reversed(range(LOCK_TRIES)):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            held = path.open("ab")
        except FileNotFoundError:
            if tries_left:
                continue  # the run before this one has just removed the folder
            raise
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(held.fileno()), path.stat()):
                return held
        except BlockingIOError:
            held.close()
            raise OutputError(f"another run is writing into {name}") from None
        except BaseException:
            held.close()
            raise
        held.close()
    raise OutputError(f"{path} is removed each time it is created")


def differences(was: dict[str, Any], now: dict[str, Any], prefix: str = "") -> list[str]:
    """The differences between the settings of two runs, in words."""
    found: list[str] = []
    for key in sorted(was.keys() | now.keys()):
        old, new = was.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            inner = cast("tuple[dict[str, Any], dict[str, Any]]", (old, new))
            found += differences(*inner, prefix=f"{prefix}{key}.")
        elif old != new:
            found.append(f"{prefix}{key} was {old}, now {new}")
    return found
