"""Sources for image files: a folder, a glob, one file."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from service.console.nearest import with_path_hint
from service.errors import UsageError
from service.listing.skipped import Skipped
from service.scoring.files import is_file, is_folder, local_path
from service.scoring.item import Item
from service.scoring.sources.walk import UnreadablePath, glob, split_glob, walk


def _item(path: str) -> Item:
    if isinstance(path, UnreadablePath):
        return Item(str(path), error=f"OSError: the folder cannot be listed: {path.reason}")
    return Item(path)


@dataclass(frozen=True)
class Folder:
    """Every image under a folder, however deep."""

    name: str

    def check(self) -> None:
        if not is_folder(self.name):
            raise UsageError(f"no folder {self.name}")

    def items(self, skip: int = 0) -> Iterator[Item]:
        return self.sifted(skip, Skipped())

    def sifted(self, skip: int, skipped: Skipped) -> Iterator[Item]:
        return map(_item, islice(walk(self.name, skipped), skip, None))

    def count(self) -> int | None:
        return sum(1 for _ in walk(self.name))


@dataclass(frozen=True)
class Glob:
    """The files that match a pattern."""

    name: str

    def check(self) -> None:
        root = split_glob(self.name)[0] or "."
        if not is_folder(root):
            raise UsageError(f"no folder {root}, where {self.name} begins")

    def items(self, skip: int = 0) -> Iterator[Item]:
        return self.sifted(skip, Skipped())

    def sifted(self, skip: int, skipped: Skipped) -> Iterator[Item]:
        return map(_item, islice(glob(self.name, skipped), skip, None))

    def count(self) -> int | None:
        return sum(1 for _ in glob(self.name))


@dataclass(frozen=True)
class File:
    """One image file."""

    name: str

    def check(self) -> None:
        if is_file(self.name):
            return
        local = local_path(self.name)
        if local is None or not os.path.lexists(local):
            message = f"no file or folder {self.name}"
            raise UsageError(message if local is None else with_path_hint(message, Path(local)))
        if not os.path.exists(local):
            raise UsageError(f"{self.name} is a link that leads to no file")
        raise UsageError(
            f"{self.name} is a pipe, a socket or a device, not a file; a list of paths can be "
            "piped into - (standard input)"
        )

    def items(self, skip: int = 0) -> Iterator[Item]:
        return islice(iter((Item(self.name),)), skip, None)

    def count(self) -> int | None:
        return 1
