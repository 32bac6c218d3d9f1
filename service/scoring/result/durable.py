"""Files that exist complete or not at all, and the errors of writing them."""

import errno
import hashlib
import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from service.errors import OutputError
from service.replacing import replacing_file

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON object together with its digest."""
    with replacing_file(path) as stream:
        enveloped = {"sha256": digest_of(content), "content": content}
        stream.write(json.dumps(enveloped, indent=1).encode())


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote.

    Raises:
        OutputError: it was cut or altered, or another version wrote it.
        OSError: it cannot be read.
    """
    try:
        envelope: Any = json.loads(path.read_bytes())
        if "format" in envelope:  # as it was written without a digest
            raise OutputError(
                f"{path} is of another version of Quincunx. Finish that run with that version, or "
                "start again (--restart)"
            )
        content: dict[str, Any] = envelope["content"]
        if envelope["sha256"] != digest_of(content):
            raise ValueError("its content does not match its digest")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise OutputError(
            f"{path} is damaged ({error or type(error).__name__}). Start again (--restart)"
        ) from error
    return content


@contextmanager
def readable_errors(path: Path | str) -> Generator[None]:
    """If the operating system refuses, say what could not be written, and what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in FULL:
            raise OutputError(
                f"{path} cannot be written: {reason}. The finished rows are kept: free "
                "some space and run the same command again"
            ) from error
        raise OutputError(f"{path} cannot be written: {reason}") from error


@contextmanager
def readable(path: Path) -> Generator[None]:
    """Say which file of an unfinished run cannot be read, and what to do.

    Raises:
        OutputError: the operating system refuses.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{path} cannot be read: {error.strerror or error}. Fix that and run the same "
            "command again, or start again (--restart)"
        ) from error


def digest_of(content: dict[str, Any]) -> str:
    """The SHA-256 of a JSON object. The order of its keys does not matter."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
