"""OUT: one run at a time may write it, and a complete result takes its name."""

import errno
import filecmp
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from service.errors import OutputError, UsageError
from service.scoring.files import filesystem, is_file, is_folder, local_path, open_binary
from service.scoring.result.durable import readable_errors
from service.scoring.result.journal import lock
from service.scoring.result.sinks import sink_for
from service.scoring.sources import ImageSource

NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})
NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES})
BLOCK_BYTES = 1 << 20
log = logging.getLogger("quincunx.score")


class Target:
    """The file or URL that a run writes.

    A link is followed, so that two names of one file are one target.
    """

    def __init__(self, output: str, sources: Sequence[ImageSource] = ()) -> None:
        """Check everything that can be checked before any image is scored.

        Raises:
            UsageError: no format has its suffix, no storage its scheme, or it is a source.
            OutputError: something else than a file is there.
        """
        sink_for(output)
        local = local_path(output)
        self.name = output
        self.path = None if local is None else Path(os.path.realpath(local))
        if self.path is None:
            try:
                filesystem(output)
            except OSError as error:
                raise UsageError(f"cannot write {output}: {error}") from error
        with readable_errors(output):
            there = is_file(output) if self.path is None else self.path.exists()
            folder = is_folder(output) if self.path is None else self.path.is_dir()
        if folder:
            raise OutputError(f"{output} is a folder: name a file in it")
        if there and self.path is not None and not self.path.is_file():
            raise OutputError(f"{output} is not a regular file: name another")
        for source in sources:
            if self._is(source.name):
                raise UsageError(f"{output} is also a source: it would be replaced")

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that a run writes beside its journal."""
        return () if self.path is None else (self.path, self._lock, self._aside)

    @property
    def _lock(self) -> Path:
        if self.path is not None:
            return self.path.with_name(f".{self.path.name}.quincunx-lock")
        digest = hashlib.sha256(self.name.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"quincunx-{os.getuid()}-{digest}.lock"

    @property
    def _aside(self) -> Path:
        path = self.path or Path(self.name)
        return path.with_name(f".{path.name}.quincunx-tmp")

    def exists(self) -> bool:
        """Whether the file exists."""
        return is_file(self.name) if self.path is None else self.path.is_file()

    def holds(self, sha256: str) -> bool:
        """Whether the file exists and has exactly this content."""
        with readable_errors(self.name):
            return self.exists() and sha256_of(self.name) == sha256

    def work_folder(self, work: Path | None) -> Path:
        """The folder of an unfinished run's journal."""
        if work is not None:
            return work / f"{self.name.rpartition('/')[2]}.partial"
        local = local_path(self.name)
        return Path(f"{local or self.name.rpartition('/')[2]}.partial")

    @contextmanager
    def locked(self) -> Generator[None]:
        """Keep other runs away from this file, with every value of their --work.

        The lock of a URL is a file on this machine, so it only keeps away runs on this machine.

        Raises:
            OutputError: another run writes this file, or its folder cannot be written.
        """
        path = self._lock
        try:
            held = lock(path, self.name)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise OutputError(
                    f"{self.name} cannot be written: {error.strerror or error}"
                ) from error
            log.warning("%s cannot be locked (%s): run one command at a time", self.name, error)
            yield
            return
        try:
            yield
        finally:
            with suppress(OSError):
                path.unlink(missing_ok=True)
            held.close()

    def publish(self, result: Path, replace: bool) -> None:
        """Give the result its name in one step. `result` no longer exists afterwards.

        Raises:
            OutputError: another file has taken the name meanwhile, or it cannot be written.
        """
        with readable_errors(self.name):
            if self.path is None:
                self._upload(result)
            else:
                self._move(result, self.path, replace)

    def refuse_to_replace(self) -> OutputError:
        """The error for an existing file that may not be replaced."""
        return OutputError(f"{self.name} exists already: name another, or replace it (--overwrite)")

    def _move(self, result: Path, path: Path, replace: bool) -> None:
        try:
            self._rename(result, path, replace)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            aside = self._aside  # --work is on another disk
            try:
                shutil.copyfile(result, aside)
                with aside.open("rb+") as stream:
                    os.fsync(stream.fileno())
                self._rename(aside, path, replace)
            finally:
                aside.unlink(missing_ok=True)
            result.unlink()

    def _rename(self, result: Path, path: Path, replace: bool) -> None:
        """Rename; without `replace` a file of that name stays, unless it is this very result."""
        if not replace:
            try:
                os.link(result, path)
            except FileExistsError:
                pass
            except OSError as error:
                if error.errno not in NO_LINKS:  # on such a disk only the next check is left
                    raise
            if path.exists():
                same = path.samefile(result) or filecmp.cmp(result, path, shallow=False)
                if not same:
                    raise self.refuse_to_replace()
                result.unlink()
                return
        result.replace(path)

    def _upload(self, result: Path) -> None:
        fs, inner = filesystem(self.name)
        try:
            fs.put_file(str(result), inner)
            sent, stored = result.stat().st_size, fs.info(inner).get("size")
        except OSError:
            raise
        except Exception as error:  # each storage has its own errors
            raise OutputError(
                f"{self.name} cannot be written: {type(error).__name__}: {error}. The finished "
                "rows are kept: run the same command again"
            ) from error
        if stored not in (None, sent):
            raise OutputError(
                f"{self.name} has {stored} bytes of {sent}. Run the same command again"
            )
        result.unlink()

    def _is(self, source: str) -> bool:
        if self.path is None:
            return source == self.name
        local = local_path(source)
        with suppress(OSError, ValueError):
            return local is not None and os.path.samefile(local, self.path)
        return False


def sha256_of(path: str) -> str:
    """The SHA-256 of a file, in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with open_binary(path) as stream:
        while block := stream.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
