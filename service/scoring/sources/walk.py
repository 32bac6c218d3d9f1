"""Folders, walked in the order of their names."""

import os
import re
from collections.abc import Callable, Iterator

from service.scoring.files import entries, is_url, join

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
)


def has_image_suffix(name: str) -> bool:
    """Whether a file's name says that it is an image."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


class Broken(str):
    """A folder that cannot be listed: its path and the reason."""

    reason: str

    def __new__(cls, path: str, reason: str) -> "Broken":
        made = super().__new__(cls, path)
        made.reason = reason
        return made


def walk(
    folder: str,
    wanted: Callable[[str], bool] = has_image_suffix,
    max_depth: int | None = None,
    _above: frozenset[tuple[int, int]] = frozenset(),
) -> Iterator[str]:
    """The files under `folder` whose path satisfies `wanted`, sorted name by name.

    Hidden names are passed over. Links to folders are followed, but never into a folder that the
    walk is already in. A folder that cannot be listed comes out as a `Broken` path.
    """
    here = _identity(folder)
    if here in _above:
        return
    above = _above | {here} if here else _above
    try:
        for entry in entries(folder):
            if entry.name.startswith("."):
                continue
            path = join(folder, entry.name)
            if not entry.is_folder:
                if wanted(path):
                    yield path
            elif max_depth is None or max_depth > 1:
                yield from walk(path, wanted, max_depth and max_depth - 1, above)
    except OSError as error:
        yield Broken(folder, error.strerror or str(error))


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
    scheme, mark, path = pattern.rpartition("://")
    parts = path.split("/")
    first = next(i for i, part in enumerate(parts) if MAGIC.search(part))
    root = "/".join(parts[:first])
    if first and not root and not mark:
        root = "/"
    return scheme + mark + root, "/".join(parts[first:])


def glob_regex(pattern: str) -> re.Pattern[str]:
    """A regular expression for a relative path; `**` crosses folders, `*` and `?` do not."""
    text, at = "", 0
    while at < len(pattern):
        if pattern.startswith("**/", at):
            text, at = text + "(?:.*/)?", at + 3
        elif pattern.startswith("**", at):
            text, at = text + ".*", at + 2
        elif pattern[at] == "*":
            text, at = text + "[^/]*", at + 1
        elif pattern[at] == "?":
            text, at = text + "[^/]", at + 1
        elif pattern[at] == "[" and (end := pattern.find("]", at + 2)) > 0:
            inside = pattern[at + 1 : end].replace("\\", "\\\\")
            negated = inside.startswith(("!", "^"))
            text += f"[{'^/' if negated else ''}{inside[negated:]}]"
            at = end + 1
        else:
            text, at = text + re.escape(pattern[at]), at + 1
    return re.compile(text, re.DOTALL)


def glob(pattern: str) -> Iterator[str]:
    """The files that a pattern names, sorted; where it names a folder, the images under it.

    Without a suffix at the pattern's end, only files with an image's suffix count.
    """
    root, rest = split_glob(pattern)
    regex = glob_regex(rest.rstrip("/"))
    any_suffix = bool(re.search(r"\.\w+$", rest))
    start = len(root.rstrip("/")) + 1 if root else 0
    depth = None if "**" in rest else rest.count("/") + 1

    def wanted(path: str) -> bool:
        relative = path[start:]
        if regex.fullmatch(relative):
            return any_suffix or has_image_suffix(path)
        if not has_image_suffix(path):
            return False
        folder = relative.rpartition("/")[0]
        while folder:
            if regex.fullmatch(folder):
                return True
            folder = folder.rpartition("/")[0]
        return False

    # A pattern with a suffix names files, so nothing deeper than the pattern can match.
    yield from walk(root, wanted, depth if any_suffix else None)
