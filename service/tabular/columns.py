"""Find the columns of a list or table by their names."""

from collections.abc import Sequence

from service.errors import UsageError
from service.tabular.delimited import plain

PATH_COLUMNS = (
    "path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path",
    "image_file", "img_path", "url", "uri",
)  # fmt: skip
"""The usual names of a column of paths, the likeliest first."""


def find(source: str, there: Sequence[str], wanted: str, option: str) -> int | None:
    """The index of the column `wanted`: with exactly this name, or with another case.

    Raises:
        UsageError: several columns have the name.
    """
    exact = [at for at, name in enumerate(there) if name == wanted]
    found = exact or [at for at, name in enumerate(there) if plain(name) == plain(wanted)]
    if len(found) > 1:
        which = ", ".join(str(at + 1) for at in found)
        raise UsageError(
            f"{source} has several columns {wanted!r} (columns {which}); rename all but one, or "
            f"name another ({option})"
        )
    return found[0] if found else None


def pick(
    source: str, there: Sequence[str], asked: str | None, usual: Sequence[str], option: str
) -> int | None:
    """The index of the requested column, or of the first usual one that exists.

    Raises:
        UsageError: the requested column is missing, or several have the name.
    """
    if asked is None:
        places = (find(source, there, name, option) for name in usual)
        return next((place for place in places if place is not None), None)
    place = find(source, there, asked, option)
    if place is None:
        raise UsageError(f"{source} has no column {asked!r} ({option}); it has: {listed(there)}")
    return place


def listed(names: Sequence[str]) -> str:
    """Column names for a message."""
    return ", ".join(names[:50]) + (", …" if len(names) > 50 else "") or "(none)"
