"""A flat folder, ``DATA/<class>/*`` without ``train/`` and ``val/``: which images are for reports.

Each file gets a seeded number from its content. The files with small numbers are used for reports
only. So the choice is the same in every command and on every machine, it does not change for a file
when others are added or renamed, and two copies of a photo are always in the same part.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path

from service.errors import DataError
from training.data.class_folders import (
    class_names,
    listed,
    read_class_folders,
    table_hint,
    validation_folder,
)
from training.data.content.digest import Digest, content_digest, seeded
from training.data.item import Item
from training.data.labelled import Labelled

PARTS = frozenset(
    ("train", "training", "val", "valid", "validation", "test", "testing", "eval", "dev")
)
"""Names that people give to the parts of a data set."""


def is_flat(data: Path) -> bool:
    """Whether `data` is a folder of classes without ``train/`` and ``val/``."""
    return data.is_dir() and not (data / "train").is_dir() and not validation_folder(data).is_dir()


def check_flat(data: Path) -> None:
    """Refuse a folder without ``train/`` that is not a folder of classes, and name the fix.

    Raises:
        DataError: see above.
    """
    names = class_names(data)
    train = data / "train"
    if not names:
        raise DataError(
            f"no folder {train}, and {data} has no class folders: put the images of each class "
            f"into {data}/<class>/, or into {train}/<class>/ and {data / 'val'}/<class>/"
            + table_hint(data)
        )
    parts = [name for name in names if name.casefold() in PARTS]
    classes = {name for name in names if name not in parts}
    if parts and all(_looks_like_a_part(data / name, classes) for name in parts):
        raise DataError(
            f"no folder {train}, but {data} has {listed(parts)}, which look like parts of a data "
            f"set and not like classes: name the part for training {train.name}, and the part for "
            "reports val"
        )
    if len(names) == 1 and len(inner := class_names(data / names[0])) > 1:
        raise DataError(
            f"{data} has one folder, {names[0]!r}, which has the folders {listed(inner)}. If they "
            f"are the classes, name {data / names[0]} instead of {data}"
        )


def _looks_like_a_part(folder: Path, classes: set[str]) -> bool:
    """Whether the folders in `folder` are `classes`, or any folders if these are none."""
    inner = set(class_names(folder))
    return bool(inner & classes) if classes else bool(inner)


def read_flat_folder(
    data: Path,
    share: float,
    seed: int | str,
    *,
    together: bool = True,
    digest: Digest = content_digest,
) -> tuple[Labelled, Labelled]:
    """The images of a flat folder in two parts: (for training, for reports).

    Both parts have the notes about the folder, and one about the split. For `together` and
    `digest`, see `chosen_for_reports`.

    Raises:
        DataError: no class folders that can be read.
    """
    found = read_class_folders(data, allow_empty=False)
    reported = set(chosen_for_reports(found.items, share, seed, together=together, digest=digest))
    note = (
        f"{data} has neither train/ nor val/: {len(reported)} of its {len(found)} images are used "
        "for reports only. Every command chooses the same ones, also after images are added. To "
        f"choose them yourself, make the folders {data / 'train'} and {data / 'val'}"
    )
    train = tuple(item for item in found.items if item not in reported)
    val = tuple(item for item in found.items if item in reported)
    notes = (*found.notes, note)
    return replace(found, items=train, notes=notes), replace(found, items=val, notes=notes)


def chosen_for_reports(
    items: Sequence[Item],
    share: float,
    seed: int | str,
    *,
    together: bool = True,
    digest: Digest = content_digest,
) -> list[Item]:
    """About `share` of each class, by content.

    A class with two images or more has at least one in each part. In a class with few images,
    chance could choose far too many or too few. So the number stays between a third of the share
    and twice the share. With `together`, these bounds never part copies of a file; versions before
    0.6 could do that. `digest` gives the number of a file's content.
    """
    if share <= 0:
        return []
    members_of: dict[str, list[tuple[float, Item]]] = {}
    for item in items:
        number = seeded(digest(item.path), f"{seed}/reports")
        members_of.setdefault(item.label, []).append((number, item))
    chosen: list[Item] = []
    for members in members_of.values():
        members.sort(key=lambda one: (one[0], str(one[1].path)))
        wanted = share * len(members)
        most = min(ceil(2 * wanted), len(members) - 1)
        least = min(max(1, round(wanted / 3)), most)
        drawn = sum(number < share for number, _ in members)
        count = min(max(drawn, least), most)
        if together:
            count = _beside_copies([number for number, _ in members], count)
        chosen += [item for _, item in members[:count]]
    return chosen


def _beside_copies(numbers: Sequence[float], count: int) -> int:
    """The nearest count to `count` that does not part equal neighbours of the sorted `numbers`.

    At least one is chosen and at least one is left, where that can be.
    """
    places = [at for at in range(1, len(numbers)) if numbers[at - 1] != numbers[at]]
    if count == 0 or not places:
        return 0
    return min(places, key=lambda at: (abs(at - count), at))
