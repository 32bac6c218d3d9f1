"""Open a file whose kind is not known yet: a pipe does not make its reader wait."""

import os
import stat
from pathlib import Path
from typing import BinaryIO


class NotRegular(OSError):
    """The path is a folder, a pipe, a socket or a device."""


def at_once(path: str, flags: int) -> int:
    """For `open(..., opener=at_once)`: open a pipe without waiting for its other end."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o600)


def open_regular(path: Path, *, follow: bool = True) -> BinaryIO:
    """Open a regular file to read. With `follow` false the path itself may not be a link.

    Raises:
        NotRegular: the path is of another kind.
        OSError: it cannot be opened.
    """
    here = 0 if follow else getattr(os, "O_NOFOLLOW", 0)
    stream = open(path, "rb", opener=lambda name, flags: at_once(name, flags | here))  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise NotRegular(f"{path} is not a regular file")
    return stream
