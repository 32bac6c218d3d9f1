"""Write files: whether it will be possible, and in one step, completely or not at all."""

import os
import re
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from service.errors import UsageError

_ASIDE = re.compile(r"(.+?)(\.[0-9a-f]{8})?\.tmp", re.DOTALL)
"""The name of a file that is being written; older versions had no letters of their own in it."""


@contextmanager
def replacing_file(path: Path) -> Generator[IO[bytes]]:
    """Write a file beside `path`, sync it, and rename it to `path` if the block raises no error.

    So `path` has the old or the new content, even after a power cut. An error in the block removes
    the new file. Each writer has a file of its own. The last one that ends is kept.
    """
    aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with aside.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)  # room for others, where the disk is full
        raise


def check_writable(folder: Path) -> None:
    """Check before hours of work that files can be written in `folder`, which may not exist yet.

    Raises:
        UsageError: the folder, or the nearest one above it that exists, cannot be written.
    """
    found = folder.absolute()
    while not found.exists() and found != found.parent:
        found = found.parent
    if not found.is_dir():
        raise UsageError(f"{folder} cannot be made: {found} is not a folder")
    if not os.access(found, os.W_OK | os.X_OK):
        raise UsageError(f"{folder} cannot be written: {found} is not writable for this user")


def replaced_by(name: str) -> str | None:
    """The name that a new file of `replacing_file` takes at the end; None: it is another file."""
    found = _ASIDE.fullmatch(name)
    return found[1] if found else None


def runs(pid: int) -> bool:
    """Whether there is a process `pid` on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, as another user
        return True
    return True
