"""The cache folder: its entries, their keys, and its limit."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from service.errors import DataError, UsageError
from service.replacing import runs
from training.data.cache.entry import FACTS
from training.data.cache.storing import Storing

FOLDER = Path("cache")
"""Beside `runs/`."""
LIMIT_GIB = 64.0
GIB = 2**30
UNFINISHED = ".unfinished-"
KEY_LETTERS = 16


def size_text(nbytes: int) -> str:
    """Bytes for people."""
    return f"{nbytes / GIB:.2f} GiB" if nbytes >= GIB else f"{nbytes / 2**20:.1f} MiB"


def key_of(paths: Sequence[str], storing: Storing) -> str:
    """The key of an entry: it changes with every file's path, size and time of change.

    Raises:
        DataError: a file is not there.
    """
    digest = hashlib.sha256(json.dumps(storing.facts(), sort_keys=True).encode())
    for path in paths:
        try:
            state = os.stat(path)
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
        line = f"{path}\0{state.st_size}\0{state.st_mtime_ns}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:KEY_LETTERS]


@dataclass(frozen=True)
class Listed:
    """An entry of a cache folder, as `quincunx cache list` shows it."""

    folder: Path
    nbytes: int
    used_at: float
    """Seconds since the epoch."""
    images: int = 0
    data: str = ""
    stored: str = ""
    unfinished: bool = False
    """A process was stopped while it wrote this, or it is still writing."""

    @property
    def writing(self) -> bool:
        """Whether the process that writes it is alive."""
        if not self.unfinished:
            return False
        process = self.folder.name.split(".")[-2]  # .unfinished-KEY.PROCESS.NUMBER
        return process.isdigit() and runs(int(process))

    def facts(self) -> dict[str, Any]:
        """The entry as JSON."""
        return {
            "key": self.folder.name,
            "data": self.data,
            "images": self.images,
            "stored": self.stored,
            "bytes": self.nbytes,
            "used_at": datetime.fromtimestamp(self.used_at, UTC).isoformat(timespec="seconds"),
            "state": "complete" if self.images else "writing" if self.writing else "unfinished",
        }

    def __str__(self) -> str:
        facts = self.facts()
        return (
            f"{facts['key']}  {size_text(self.nbytes)}  {facts['state']}  {self.images} images  "
            f"{self.data or '?'}  ({self.stored or '?'}; used {facts['used_at']})"
        )


def listed(cache: Path) -> list[Listed]:
    """The entries of a cache folder, the last used one first. Other files there are no entries."""
    if not cache.is_dir():
        return []
    found = [_listed(folder) for folder in cache.iterdir() if folder.is_dir()]
    return sorted((entry for entry in found if entry), key=lambda entry: -entry.used_at)


def used_bytes(cache: Path) -> int:
    """The bytes of all entries."""
    return sum(entry.nbytes for entry in listed(cache))


def touch(folder: Path) -> None:
    """Note that an entry is used now."""
    os.utime(folder / FACTS)


def unfinished(cache: Path, key: str) -> Path:
    """A new folder to write an entry in."""
    cache.mkdir(parents=True, exist_ok=True)
    number = 0
    while True:
        folder = cache / f"{UNFINISHED}{key}.{os.getpid()}.{number}"
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            number += 1


def remove_unfinished(cache: Path) -> None:
    """Remove unfinished entries of processes that have ended."""
    for entry in listed(cache):
        if entry.unfinished and not entry.writing:
            shutil.rmtree(entry.folder, ignore_errors=True)


def make_room(cache: Path, needed: int, limit: int, log: Callable[[str], None]) -> None:
    """Remove the entries that were not used for the longest time until `needed` bytes fit.

    Raises:
        DataError: `needed` bytes are more than the limit, or than the disk has.
    """
    if needed > limit:
        raise DataError(
            f"the decoded images take {size_text(needed)}; the limit is {size_text(limit)} "
            "(--cache-limit). Raise it, store smaller images (--cache-px), or train with "
            "--cache off"
        )
    entries = [entry for entry in listed(cache) if not entry.writing]
    total = used_bytes(cache)
    while entries and total + needed > limit:
        oldest = entries.pop()
        shutil.rmtree(oldest.folder, ignore_errors=True)
        total -= oldest.nbytes
        log(
            f"removed {oldest.folder} ({size_text(oldest.nbytes)} of {oldest.data}): the cache "
            f"is limited to {size_text(limit)} (--cache-limit)"
        )
    free = shutil.disk_usage(_existing(cache)).free
    if needed > free:
        raise DataError(
            f"the decoded images take {size_text(needed)}, and the disk of {cache} has "
            f"{size_text(free)} left: name a folder on another disk (--cache-folder), store "
            "smaller images (--cache-px), or train with --cache off"
        )


def clean(cache: Path, keys: Sequence[str]) -> list[Listed]:
    """Remove entries, all of them without `keys`; an entry that is being written stays.

    Raises:
        UsageError: there is no entry of a key.
    """
    entries = [entry for entry in listed(cache) if not entry.writing]
    names = {entry.folder.name for entry in entries}
    for key in keys:
        if key not in names:
            raise UsageError(f"no entry {key!r} in {cache}; see quincunx cache list")
    chosen = [entry for entry in entries if not keys or entry.folder.name in keys]
    for entry in chosen:
        shutil.rmtree(entry.folder)
    return chosen


def _listed(folder: Path) -> Listed | None:
    is_unfinished = folder.name.startswith(UNFINISHED)
    if not is_unfinished and not _is_key(folder.name):
        return None
    try:
        nbytes = sum(path.stat().st_size for path in folder.iterdir())
        if is_unfinished:
            return Listed(folder, nbytes, folder.stat().st_mtime, unfinished=True)
    except OSError:  # another process has just removed it
        return None
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        used_at = (folder / FACTS).stat().st_mtime
        return Listed(folder, nbytes, used_at, len(facts["paths"]), facts["data"], facts["stored"])
    except (OSError, ValueError, KeyError, TypeError):
        return Listed(folder, nbytes, 0.0)


def _is_key(name: str) -> bool:
    return len(name) == KEY_LETTERS and set(name) <= set("0123456789abcdef")


def _existing(path: Path) -> Path:
    """The folder itself, or the nearest parent that exists."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path
