"""Files by path or URL: local files through the operating system, others through fsspec."""

import errno
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from typing import IO, Any, cast

from service.errors import OutOfResources, QuincunxError, TooLarge, UsageError

MAX_IMAGE_BYTES = 256 * 1024 * 1024

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

    def __init__(self, url: str, fs: Any, inner: str) -> None:
        self._url = url
        self._stream = fs.open(inner, "rb")
        self._fs = fs  # a filesystem inside an archive closes it when nobody holds the filesystem

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
            return cast(IO[bytes], _RemoteFile(path, fs, inner))


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


def divided(path: str) -> tuple[str, str, str]:
    """The part of a chained URL that names the file, between the parts before and after it.

    `zip://red/a.png::s3://bucket/b.zip` names red/a.png; `simplecache::s3://bucket/a.png` names
    a.png. Any other path has empty parts before and after it.
    """
    if "::" not in path or local_path(path) is not None:
        return "", path, ""
    links = path.split("::")
    at = next(number for number, link in enumerate(links) if "://" in link)
    before, after = links[:at], links[at + 1 :]
    return "".join(f"{one}::" for one in before), links[at], "".join(f"::{one}" for one in after)


def join(folder: str, name: str) -> str:
    """`name` under `folder`; an absolute path or a URL stays as it is."""
    if is_url(name) or os.path.isabs(name) or folder in ("", "."):
        return name
    before, inner, after = divided(folder)
    inner = without_slash(inner)
    slash = "" if inner.endswith("/") else "/"
    return f"{before}{inner}{slash}{name}{after}"


def parent(path: str) -> str:
    """The folder of `path`; "" for a name without a folder."""
    before, inner, after = divided(path)
    head, slash, _ = inner.rpartition("/")
    if head.endswith(":/") and is_url(inner):
        head += "/"  # the root of a storage
    return f"{before}{head or slash}{after}"


def folder_name(path: str) -> str:
    """The name of the folder that holds `path`; "" for a name without a folder."""
    return divided(parent(path))[1].rpartition("/")[2]


def without_slash(folder: str) -> str:
    """A folder without the slash at its end. The root of a file system or a storage keeps it."""
    return folder if folder.endswith("://") else folder.rstrip("/") or "/"
