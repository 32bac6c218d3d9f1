"""The names in a folder, in order: of a folder on this machine, or of one in a storage."""

import heapq
import os
import tempfile
from collections.abc import Iterator
from typing import IO, Literal, NamedTuple, cast

from service.errors import OutputError
from service.scoring.files import blaming_the_machine, filesystem, is_url, storage_errors

SPILL_NAMES = 100_000
"""A folder with more names than this is sorted on disk. `sorted(os.scandir())` would hold all names
in memory, about 160 bytes for each: 160 MB for a million images."""

Kind = Literal["file", "folder", "special"]
"""`special`: a pipe, a socket or a device. A broken link is a file that cannot be read."""


class Entry(NamedTuple):
    """One name in a folder."""

    name: str
    kind: Kind


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
