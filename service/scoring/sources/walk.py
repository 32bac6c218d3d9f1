"""Folders, walked in the order of their names: the images in them, and a count of the rest."""

import fnmatch
import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal

from service.inference.image.signatures import SIGNATURE_BYTES
from service.listing.image_files import is_hidden, is_image
from service.listing.skipped import HIDDEN, SPECIAL, Skipped
from service.scoring.files import divided, is_url, join, read_head
from service.scoring.sources.entries import entries

Choice = Literal["yes", "if image", "no"]
"""The decision on a path: take it, take it if it is an image, or leave it out."""
IsImage = Callable[[str, Callable[[], bytes]], bool]
"""From a file's name and a function that reads its first bytes: `service.listing.image_files`."""


class UnreadablePath(str):
    """A folder that cannot be listed: its path and the reason."""

    reason: str

    def __new__(cls, path: str, reason: str) -> "UnreadablePath":
        made = super().__new__(cls, path)
        made.reason = reason
        return made


def walk(
    folder: str,
    skipped: Skipped | None = None,
    *,
    wanted: IsImage = is_image,
    choose: Callable[[str], Choice] = lambda _: "if image",
    max_depth: int | None = None,
    _above: frozenset[tuple[int, int]] = frozenset(),
) -> Iterator[str]:
    """The images under `folder`, sorted name by name. `skipped` counts the skipped files.

    Hidden and system names are skipped, and pipes, sockets and devices. Links to folders are
    followed, but never into a folder that the walk is already in. A folder that cannot be listed is
    yielded as a `UnreadablePath` path, and a broken link as the path of a file.

    `wanted` decides whether a file is an image, `choose` which paths are considered at all.
    """
    skipped = Skipped() if skipped is None else skipped
    here = _identity(folder)
    if here in _above:
        return
    above = _above | {here} if here else _above
    try:
        for entry in entries(folder):
            path = join(folder, entry.name)
            is_folder = entry.kind == "folder"
            if is_folder and max_depth is not None and max_depth <= 1:
                continue
            choice = choose(join(path, "image.jpg") if is_folder else path)
            if is_hidden(entry.name, is_folder=is_folder):
                if choice != "no":
                    skipped.add(f"{path}/" if is_folder else path, HIDDEN)
            elif is_folder:
                yield from walk(
                    path,
                    skipped,
                    wanted=wanted,
                    choose=choose,
                    max_depth=max_depth and max_depth - 1,
                    _above=above,
                )
            elif choice == "no":
                continue
            elif entry.kind == "special":
                skipped.add(path, SPECIAL)
            elif choice == "yes" or wanted(entry.name, partial(read_head, path, SIGNATURE_BYTES)):
                yield path
            else:
                skipped.add(path)
    except OSError as error:
        yield UnreadablePath(folder, error.strerror or str(error))


def _identity(folder: str) -> tuple[int, int] | None:
    if is_url(folder):
        return None
    try:
        stat = os.stat(folder or ".")
    except OSError:
        return None  # listing it will say why
    return stat.st_dev, stat.st_ino


MAGIC = re.compile(r"[*?\[]")


def split_glob(pattern: str) -> tuple[str, str]:
    """The folder before the first part with a wildcard, and the rest."""
    before, inner, after = divided(pattern)
    scheme, mark, path = inner.rpartition("://")
    parts = path.split("/")
    first = next(i for i, part in enumerate(parts) if MAGIC.search(part))
    root = "/".join(parts[:first])
    if first and not root and not mark:
        root = "/"
    return before + scheme + mark + root + after, "/".join(parts[first:])


# wcmatch and fsspec have this too, but `photos/**.jpg` is `photos/*.jpg` for wcmatch and an error
# for fsspec, and in fsspec `[!a]` matches a slash. Neither walks a folder in sorted order.
_TOKEN = re.compile(r"\*\*/?|\*|\?|\[[!^]?\]?[^]/]*\]|.", re.DOTALL)
_WILDCARDS = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def glob_regex(pattern: str) -> re.Pattern[str]:
    """A regular expression for a relative path; `**` crosses folders, `*` `?` `[…]` do not."""
    return re.compile(_TOKEN.sub(_token_regex, pattern), re.DOTALL)


def _token_regex(token: re.Match[str]) -> str:
    text = token.group()
    if text in _WILDCARDS:
        return _WILDCARDS[text]
    if len(text) == 1:
        return re.escape(text)
    sequence = fnmatch.translate(re.sub(r"^\[\^", "[!", text))
    return f"(?!/){sequence[:-2]}"  # without the mark of the end, \Z or \z


def glob(pattern: str, skipped: Skipped | None = None) -> Iterator[str]:
    """The files that a pattern matches, sorted. If it matches a folder, the images under it.

    A pattern that ends in a suffix matches files of any kind. For other patterns `skipped` counts
    the matching files that are not images.
    """
    root, rest = split_glob(pattern)
    regex = glob_regex(rest.rstrip("/"))
    any_suffix = bool(re.search(r"\.\w+$", rest))
    start = len(divided(join(root, "_"))[1]) - 1
    depth = None if "**" in rest else rest.count("/") + 1

    def choose(path: str) -> Choice:
        relative = divided(path)[1][start:]
        if regex.fullmatch(relative):
            return "yes" if any_suffix else "if image"
        folder = relative.rpartition("/")[0]
        while folder:
            if regex.fullmatch(folder):
                return "if image"
            folder = folder.rpartition("/")[0]
        return "no"

    # A pattern with a suffix names files, so no deeper path can match.
    yield from walk(root, skipped, choose=choose, max_depth=depth if any_suffix else None)
