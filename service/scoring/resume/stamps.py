"""Stamps of files: size and times. They show without reading that a file is still the same.

A file whose stamp is the same has the same content: any write changes its times. A file whose
stamp differs may still have the same content, after a copy for example. Reading it decides.
"""

import hashlib
import json
import os
import stat
from typing import IO, Any

from service.scoring.files import (
    MAX_IMAGE_BYTES,
    check_length,
    filesystem,
    local_path,
    open_binary,
)

READ_TRIES = 3
VALIDATORS = (
    "ETag", "etag", "Content-MD5", "md5Hash", "content_md5", "md5", "checksum", "generation",
    "Last-Modified", "LastModified", "last_modified", "updated", "mtime", "modified",
)  # fmt: skip
"""Facts that remote storage may give about a file and that change with its content."""


def stamp(path: str) -> str | None:
    """The stamp of a file; None if it is not a regular file, or if its storage keeps no times."""
    if path == "-":
        return None
    local = local_path(path)
    if local is None:
        return _remote_stamp(path)
    try:
        return _local_stamp(os.stat(local))
    except (OSError, ValueError):
        return None


def same_bytes(before: str | None, after: str | None) -> bool:
    """Whether a file kept its content between two stamps; the time of its inode may differ.

    A new hard link or another owner changes the inode's time only, and no byte of the file.
    """
    return _without_ctime(before) == _without_ctime(after)


def read_stamped(path: str, limit_bytes: int = MAX_IMAGE_BYTES) -> tuple[bytes, str | None]:
    """The whole file, and its stamp at the time of reading.

    Raises:
        OSError: the file cannot be read, or it changes whenever it is read.
        OutOfResources: no file can be opened now.
        TooLarge: it is longer than `limit_bytes`.
    """
    local = local_path(path)
    if local is None:
        return _read_remote(path, limit_bytes)
    for _ in range(READ_TRIES):
        with open_binary(local) as stream:
            before = _open_stamp(stream)
            data = stream.read(limit_bytes + 1)
            check_length(len(data), limit_bytes)
            if same_bytes(before, _open_stamp(stream)):
                return data, before
    raise OSError(f"the file changed while it was read, {READ_TRIES} times")


def _read_remote(url: str, limit_bytes: int) -> tuple[bytes, str | None]:
    before = _remote_stamp(url)
    with open_binary(url) as stream:
        data = stream.read(limit_bytes + 1)
    check_length(len(data), limit_bytes)
    return data, before


def _local_stamp(found: os.stat_result) -> str | None:
    if not stat.S_ISREG(found.st_mode):
        return None
    # The inode tells a link that leads to another file of the same size and times.
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ino} {found.st_ctime_ns}"


def _open_stamp(stream: IO[bytes]) -> str | None:
    return _local_stamp(os.fstat(stream.fileno()))


def _remote_stamp(url: str) -> str | None:
    try:
        fs, inner = filesystem(url)
        info: dict[str, Any] = fs.info(inner)
    except Exception:  # each storage has errors of its own; opening the file will say what is wrong
        return None
    said = {name: str(info[name]) for name in VALIDATORS if info.get(name) is not None}
    if info.get("type") != "file" or not said:
        return None
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
    return f"{info.get('size')} {digest[:32]}"


def _without_ctime(stamped: str | None) -> list[str] | None:
    return None if stamped is None else stamped.split(" ")[:3]
