"""Which files of a data set are copies of one another.

People have the same photo twice: ``IMG_1.jpg`` and ``IMG_1 (1).jpg``. If one copy is trained on and
the other is held out, what is fitted and measured on the held-out images is too good.
"""

import hashlib
from collections.abc import Callable, Hashable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from service.console.text import storable
from training.data.content.digest import content_digest
from training.data.item import Item

Key = TypeVar("Key", bound=Hashable)
Copies = Mapping[Path, int]
"""A number for each file that has a copy. Copies have the same number."""


def copies_among(paths: Iterable[Path]) -> Copies:
    """The files whose whole content another file has too.

    Only files of equal length are read, so this takes little time. Files that cannot be read are
    copies of nothing: the decoder reports them later.
    """
    alike = [dict.fromkeys(paths)]
    for look in (lambda path: path.stat().st_size, content_digest, _whole):
        alike = [part for group in alike for part in _parted(group, look)]
    return {path: number for number, group in enumerate(alike) for path in group}


def notes_on(items: Iterable[Item], copies: Copies) -> list[str]:
    """What a person should know about the copies among `items`."""
    groups: dict[int, list[Item]] = {}
    for item in items:
        if item.path in copies:
            groups.setdefault(copies[item.path], []).append(item)
    more = sum(len(group) - 1 for group in groups.values())
    if not more:
        return []
    first, second, *_ = next(iter(groups.values()))
    several = f"{more} images are copies" if more > 1 else "1 image is a copy"
    notes = [
        f"{several} of other images (one: {_name(second)} of {_name(first)}): copies "
        "with the same label stay in the same part of the split"
    ]
    if odd := [group for group in groups.values() if len({item.label for item in group}) > 1]:
        first, second = odd[0][0], next(one for one in odd[0] if one.label != odd[0][0].label)
        photos = f"{len(odd)} images have" if len(odd) > 1 else "1 image has"
        notes.append(
            f"warning: {photos} copies with other labels: {_name(first)} has {first.label!r}, "
            f"{_name(second)} has {second.label!r}. Remove the wrong ones"
        )
    return notes


def _name(item: Item) -> str:
    return storable(str(item.path))


def _parted(paths: Iterable[Path], look: Callable[[Path], Key]) -> Iterable[dict[Path, None]]:
    """The groups of files that look equal, without files that are alone."""
    groups: dict[Key, dict[Path, None]] = {}
    for path in paths:
        try:
            groups.setdefault(look(path), {})[path] = None
        except OSError:
            continue
    return [group for group in groups.values() if len(group) > 1]


def _whole(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()
