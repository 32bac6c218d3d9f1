"""Files by path or URL: local files through the operating system, others through fsspec."""

import errno
import heapq
import os
import stat
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import IO, Any, Literal, NamedTuple, cast

from service.errors import OutOfResources, OutputError, QuincunxError, TooLarge, UsageError

MAX_IMAGE_BYTES = 256 * 1024 * 1024
SPILL_NAMES = 100_000
"""A folder with more names than this is sorted on disk. `sorted(os.scandir())` would hold all names
in memory, about 160 bytes for each: 160 MB for a million images."""


_FILES = "; raise the limit on open files (ulimit -n)"
_DISK = "; the disk or the network behind it fails"
_FULL = "; make room on the disk"
MACHINE_FAULTS = {
    errno.EMFILE: _FILES,
    errno.ENFILE: _FILES,
    errno.ENOMEM: "",
    errno.ENOBUFS: "",
    errno.EIO: _DISK,
    errno.ESTALE: _DISK,
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
}
"""Errors of the operating system that are not the fault of a file, and what helps."""

Kind = Literal["file", "folder", "special"]
"""`special`: a pipe, a socket or a device. A broken link is a file that cannot be read."""


class Entry(NamedTuple):
    """One name in a folder."""

    name: str
    kind: Kind


def is_url(path: str) -> bool:
    """Whether `path` is for fsspec: it has a scheme, such as `s3://`."""
    return "://" in path


def local_path(path: str) -> str | None:
    """The path on this machine, also for a `file://` URL; None for a URL of another scheme."""
    for scheme in ("file://", "local://"):
        if path.startswith(scheme):
            return path[len(scheme) :]
    return None if is_url(path) else path


def filesystem(url: str) -> tuple[Any, str]:
    """The fsspec filesystem of a URL, and the path within it.

    Raises:
        OSError: fsspec does not know the protocol, or its library is not installed.
    """
    import fsspec  # type: ignore[import-untyped]  # half a second that a local run need not pay

    try:
        return fsspec.core.url_to_fs(url)  # type: ignore[no-any-return]
    except (ValueError, ImportError) as error:
        raise OSError(f"{url} cannot be opened: {error}") from error


@contextmanager
def storage_errors(url: str) -> Generator[None]:
    """Turn the errors of a storage into OSError. Each storage has its own kinds of errors.

    Raises:
        OSError: any error of the storage.
    """
    try:
        yield
    except (OSError, QuincunxError):
        raise
    except Exception as error:
        raise OSError(f"{url} cannot be read: {type(error).__name__}: {error}") from error


class _RemoteFile:
    """A file of fsspec that raises OSError for every error of its storage."""

    def __init__(self, url: str, stream: Any) -> None:
        self._url = url
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._stream, name)
        return storage_errors(self._url)(found) if callable(found) else found

    def __enter__(self) -> "_RemoteFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()


@contextmanager
def blaming_the_machine(path: str) -> Generator[None]:
    """Distinguish a machine that fails or is short of files or memory from a broken file.

    A machine's fault ends the run, which can continue later. A broken file gets a row with an
    error.

    Raises:
        OutOfResources: an error of `MACHINE_FAULTS`.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in MACHINE_FAULTS:
            raise
        reason, help_ = error.strerror or str(error), MACHINE_FAULTS[error.errno]
        raise OutOfResources(f"{path} cannot be read: {reason}{help_}") from error


def open_binary(path: str) -> IO[bytes]:
    """Open for reading.

    Raises:
        OSError: the file cannot be opened, or is a pipe, a socket or a device.
        OutOfResources: no file can be opened now.
    """
    if "\0" in path:
        raise OSError("a path cannot hold a NUL byte")
    with blaming_the_machine(path):
        if not is_url(path):
            check_kind(path)
            return open(path, "rb")
        with storage_errors(path):
            fs, inner = filesystem(path)
            return cast(IO[bytes], _RemoteFile(path, fs.open(inner, "rb")))


def check_kind(path: str) -> None:
    """Refuse what never ends: opening a pipe without a writer waits for ever, deaf to signals.

    Raises:
        OSError: a pipe, a socket or a device; or nothing is there.
    """
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "Is a pipe, socket or device, not a file", path)


def read_bytes(path: str, limit_bytes: int = MAX_IMAGE_BYTES) -> bytes:
    """The whole file.

    Raises:
        OSError: the file cannot be read.
        TooLarge: it is longer than `limit_bytes`.
    """
    with open_binary(path) as stream:
        data = stream.read(limit_bytes + 1)
    check_length(len(data), limit_bytes)
    return data


def read_head(path: str, length_bytes: int) -> bytes:
    """The first bytes of a file.

    Raises:
        OSError: the file cannot be read.
        OutOfResources: no file can be opened now.
    """
    if is_url(path):
        with storage_errors(path):
            fs, inner = filesystem(path)
            return fs.cat_file(inner, start=0, end=length_bytes)
    with open_binary(path) as stream:
        return stream.read(length_bytes)


def check_length(length_bytes: int, limit_bytes: int = MAX_IMAGE_BYTES) -> None:
    """Raises TooLarge if an image file is over the limit."""
    if length_bytes > limit_bytes:
        raise TooLarge(f"the image file is over the limit of {limit_bytes / 2**20:.0f} MiB")


def is_file(path: str) -> bool:
    """Whether the file exists.

    Raises:
        OSError: the storage of a URL cannot be asked.
    """
    if not is_url(path):
        return os.path.isfile(path)
    with storage_errors(path):
        fs, inner = filesystem(path)
        return fs.isfile(inner)


def check_file(path: str) -> None:
    """Raises UsageError if the user named a file that does not exist."""
    if not is_file(path):
        raise UsageError(f"no file {path}")


def is_folder(path: str) -> bool:
    """Whether the folder exists.

    Raises:
        OSError: the storage of a URL cannot be asked.
    """
    if not is_url(path):
        return os.path.isdir(path)
    with storage_errors(path):
        fs, inner = filesystem(path)
        return fs.isdir(inner)


def join(folder: str, name: str) -> str:
    """`name` under `folder`; an absolute path or a URL stays as it is."""
    if is_url(name) or os.path.isabs(name) or folder in ("", "."):
        return name
    return f"{folder.rstrip('/')}/{name}" if folder != "/" else f"/{name}"


def parent(path: str) -> str:
    """The folder of `path`; "" for a name without a folder."""
    head, slash, _ = path.rpartition("/")
    return head or slash


def entries(folder: str) -> Iterator[Entry]:
    """The names in a folder, sorted. A million names take no more memory than `SPILL_NAMES`.

    Raises:
        OSError: the folder cannot be listed.
        OutOfResources: no folder can be opened now.
        OutputError: the disk of temporary files has no room for the names of a large folder.
    """
    if is_url(folder):
        with storage_errors(folder):
            fs, inner = filesystem(folder)
            listed = fs.ls(inner, detail=True)
        names = {
            Entry(
                e["name"].rstrip("/").rpartition("/")[2],
                "folder" if e["type"] == "directory" else "file",
            )
            for e in listed
            if e["name"].rstrip("/") != inner.rstrip("/")
        }
        yield from sorted(names)
        return
    held: list[Entry] = []
    spilled: list[IO[str]] = []
    try:
        with blaming_the_machine(folder):
            scan = os.scandir(folder or ".")
        with scan:
            for entry in scan:
                held.append(Entry(entry.name, _kind(entry)))
                if len(held) >= SPILL_NAMES:
                    spilled.append(_spill(held))
                    held = []
        yield from heapq.merge(sorted(held), *(_unspill(file) for file in spilled))
    finally:
        for file in spilled:
            file.close()


def _kind(entry: os.DirEntry[str]) -> Kind:
    try:
        if entry.is_dir():
            return "folder"
        return "file" if entry.is_file() or entry.is_symlink() else "special"
    except OSError:  # a link that leads to itself
        return "file"


def _spill(held: list[Entry]) -> IO[str]:
    try:
        file = tempfile.TemporaryFile("w+", encoding="utf-8", errors="surrogateescape", newline="")  # noqa: SIM115
        file.writelines(f"{e.name}\0{e.kind}\0" for e in sorted(held))
        file.seek(0)
    except OSError as error:
        raise OutputError(
            "the names of a large folder cannot be sorted in the temporary folder (TMPDIR): "
            f"{error.strerror or error}"
        ) from error
    return file


def _unspill(file: IO[str]) -> Iterator[Entry]:
    rest = ""
    while block := file.read(1 << 16):
        *fields, rest = (rest + block).split("\0")
        if len(fields) % 2:  # a name whose kind is in the next block
            rest = f"{fields.pop()}\0{rest}"
        for name, kind in zip(fields[::2], fields[1::2], strict=True):
            yield Entry(name, cast(Kind, kind))
