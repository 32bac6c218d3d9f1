"""Cache derived graphs, and the results of their comparison, in the user's cache folder.

A file is either complete or absent. The cache only saves time: if it cannot be read or written, the
work is done again at the next start.
"""

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from service.opening import at_once, open_regular

logger = logging.getLogger("quincunx.models")

DIGEST_BYTES = 32


def default_folder() -> Path | None:
    """`$XDG_CACHE_HOME/quincunx`, else `~/.cache/quincunx`; None for a user without a home."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(given):  # the specification says to ignore a relative path
        return Path(given) / "quincunx"
    try:
        return Path.home() / ".cache" / "quincunx"
    except RuntimeError:
        return None


def cached(
    name: str,
    folder: Path | None,
    make: Callable[[], bytes],
    accepts: Callable[[bytes], bool] = lambda _: True,
) -> bytes:
    """The content of the cache entry `name`. If the cache does not have it, `make` creates it.

    An entry starts with the sha256 of its content. An entry is made again if it is damaged, or if
    `accepts` refuses its content.
    """
    if folder is None:
        return make()
    path = folder / name
    found = _read(path, accepts)
    if found is not None:
        return found
    with _alone(path):
        found = _read(path, accepts)  # another process may have made it in the meantime
        if found is None:
            found = make()
            _write(path, found)
    return found


@contextmanager
def _alone(path: Path) -> Generator[None]:
    """Let one process make an entry while others wait: the workers of a server start together.

    If files cannot be locked, each process makes the entry.
    """
    try:
        import fcntl  # not on Windows

        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = path.with_name(f".{path.name}.lock")
        stream = open(lock, "ab", opener=at_once)  # noqa: SIM115
    except (ImportError, OSError):
        yield
        return
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX)
        except OSError as error:
            logger.info("%s cannot be locked: %s", path, error.strerror or error)
        yield


def _read(path: Path, accepts: Callable[[bytes], bool]) -> bytes | None:
    try:
        with open_regular(path) as stream:
            entry = stream.read()
    except OSError:
        return None
    digest, data = entry[:DIGEST_BYTES], entry[DIGEST_BYTES:]
    whole = hashlib.sha256(data).digest() == digest
    return data if whole and accepts(data) else None


def _write(path: Path, data: bytes) -> None:
    aside = None
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Several workers may write one entry at once, so each has a name of its own.
        handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with open(handle, "wb") as stream:
            stream.write(hashlib.sha256(data).digest())
            stream.write(data)
        os.replace(aside, path)
    except OSError as error:
        logger.info("%s is not cached: %s", path, error.strerror or error)
        if aside is not None:
            Path(aside).unlink(missing_ok=True)
