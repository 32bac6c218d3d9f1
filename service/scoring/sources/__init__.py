"""Sources: from a user's paths and URLs to ordered streams of items."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from service.errors import DataError, UsageError
from service.scoring.files import divided, is_folder, is_url, parent, without_slash
from service.scoring.sources.archives import Tar, Zip
from service.scoring.sources.folder import File, Folder, Glob
from service.scoring.sources.lists import CsvList, TextList
from service.scoring.sources.source import Columns, ImageSource
from service.scoring.sources.tables import TableFile
from service.scoring.sources.walk import MAGIC, glob, walk
from service.tabular.partitions import part_files, partitions

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz")
TABLE_SUFFIXES = (".parquet", ".arrow", ".feather", ".ipc")
TEXT_SUFFIXES = (".txt", ".lst", ".list")
CSV_SUFFIXES = (".csv", ".tsv")
PARTED_SUFFIXES = (*TABLE_SUFFIXES, *CSV_SUFFIXES)
"""A folder whose name has one of these suffixes is one table in part files."""
CONTAINERS = (*TAR_SUFFIXES, ".zip", *TABLE_SUFFIXES, *TEXT_SUFFIXES, *CSV_SUFFIXES)

KINDS: dict[type, str] = {
    TextList: "lists of paths (.txt)",
    CsvList: "tables of text (.csv, .tsv)",
    TableFile: "binary tables (.parquet, .arrow)",
}
"""What messages call the sources that options such as --label-column are for."""

BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
MAX_SHARDS = 1_000_000


def expand(sources: Iterable[str], columns: Columns | None = None) -> list[ImageSource]:
    """Turn the names that a user gives into image sources, in order, and check each of them.

    A glob or `{000..123}` of archives, tables or lists becomes a source for each file; a glob of
    images stays one source.

    Raises:
        UsageError: a source does not exist or is of an unknown kind, or a list or table is damaged;
            the message names the line.
    """
    columns = columns or Columns()
    try:
        expanded = [one for source in sources for one in _expanded(source, columns)]
    except DataError as error:
        raise UsageError(str(error)) from error
    except OSError as error:  # the storage of a URL
        raise UsageError(str(error)) from error
    if sum(one.name == "-" for one in expanded) > 1:
        raise UsageError("standard input (-) can be read once only")
    for one in expanded:
        try:
            one.check()
        except DataError as error:  # the error names the file and the line
            raise UsageError(str(error)) from error
        except (OSError, ImportError, ValueError) as error:
            about = "" if one.name in str(error) else f"{one.name} cannot be read: "
            raise UsageError(f"{about}{error}") from error
    _check_used(columns, expanded)
    return expanded


def _check_used(columns: Columns, sources: Sequence[ImageSource]) -> None:
    """Raises UsageError if an option has no effect: no source is of the kind that it is for."""
    kinds = {type(source) for source in sources}
    for option, given, users in (
        ("--path-column", columns.path, (CsvList, TableFile)),
        ("--image-column", columns.image, (TableFile,)),
        ("--label-column", columns.label, (CsvList, TableFile)),
        ("--root", columns.root, (TextList, CsvList, TableFile)),
        ("--separator", columns.separator, (CsvList,)),
    ):
        if given is not None and sources and kinds.isdisjoint(users):
            named = " and ".join(dict.fromkeys(KINDS[user] for user in users))
            others = f" and {len(sources) - 1} more" if len(sources) > 1 else ""
            raise UsageError(f"{option} is for {named}, but got {sources[0].name}{others}")


def _expanded(source: str, columns: Columns) -> Iterator[ImageSource]:
    if source == "-":
        yield TextList(source, columns)
    elif BRACES.search(source) and not _exists(source):
        for name in _braces(source):
            yield from _expanded(name, columns)
    elif _is_pattern(source) and not _exists(source):
        if not _has_suffix(source, CONTAINERS):
            yield Glob(source)
            return
        names = list(glob(source))
        if not names:
            raise UsageError(f"{source} matches nothing")
        for name in names:
            yield _container(name, columns)
    elif _has_suffix(source, CONTAINERS) and not is_folder(source):
        yield _container(source, columns)
    elif (suffix := _suffix(source.rstrip("/"))) in PARTED_SUFFIXES and is_folder(source):
        yield from _parts(source.rstrip("/"), suffix, columns)
    elif is_folder(source):
        yield Folder(without_slash(source))
    else:
        yield File(source)


def _parts(folder: str, suffix: str, columns: Columns) -> Iterator[ImageSource]:
    """The part files of a table that is a folder, as Spark writes them.

    Relative paths in them are relative to the parent folder of the table.
    """
    found = walk(folder, choose=lambda path: "yes" if _suffix(path) == suffix else "no")
    rooted = replace(columns, root=columns.root or parent(folder) or ".")
    for path in part_files(found, folder):
        if suffix in CSV_SUFFIXES:
            yield CsvList(path, rooted, partitions(path, folder))
        else:
            yield TableFile(path, rooted, partitions(path, folder))


def _suffix(path: str) -> str:
    return os.path.splitext(divided(path)[1])[1].lower()


def _has_suffix(path: str, suffixes: tuple[str, ...]) -> bool:
    return divided(path)[1].lower().endswith(suffixes)


def _is_pattern(source: str) -> bool:
    """Whether a source is a glob. The query of a web address is no part of a glob."""
    if source.lower().startswith(("http://", "https://")):
        source = source.split("/", 3)[-1].partition("?")[0]
    return bool(MAGIC.search(divided(source)[1]))


def _exists(source: str) -> bool:
    return not is_url(source) and os.path.exists(source)


def _container(name: str, columns: Columns) -> ImageSource:
    if _has_suffix(name, TAR_SUFFIXES):
        return Tar(name)
    if _has_suffix(name, (".zip",)):
        return Zip(name)
    if _has_suffix(name, TABLE_SUFFIXES):
        return TableFile(name, columns)
    return (TextList if _has_suffix(name, TEXT_SUFFIXES) else CsvList)(name, columns)


def _braces(source: str) -> Iterator[str]:
    """`shard-{000..012}.tar` names thirteen files, as WebDataset writes it.

    The package braceexpand would also expand a file name such as `{a,b}.tar` and refuse `{a.tar`,
    and it makes the list of all numbers before the first: `{0..9999999999}` fills the memory.
    """
    match = BRACES.search(source)
    if match is None:
        yield source
        return
    first, last = match.groups()
    if not 0 <= int(last) - int(first) < MAX_SHARDS:
        raise UsageError(f"{match.group()} must count up, over at most {MAX_SHARDS} names")
    for number in range(int(first), int(last) + 1):
        yield from _braces(
            f"{source[: match.start()]}{number:0{len(first)}d}{source[match.end() :]}"
        )
