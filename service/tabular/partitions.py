"""Tables that are a folder of part files, as Spark, Hive and DuckDB write them."""

from collections.abc import Iterable
from urllib.parse import unquote

from service.errors import DataError

NULL = "__HIVE_DEFAULT_PARTITION__"


def partitions(file: str, folder: str) -> dict[str, str]:
    """The columns that the folders between `folder` and `file` stand for: `label=cat/part-0.csv`.

    The value of a partition without one is "".
    """
    found: dict[str, str] = {}
    for part in file[len(folder.rstrip("/")) + 1 :].split("/")[:-1]:
        key, equals, value = part.partition("=")
        if equals:
            found[unquote(key)] = "" if value == NULL else unquote(value)
    return found


def part_files(found: Iterable[str], folder: str) -> list[str]:
    """The files of `found`, under `folder`, that belong to the table.

    Names that begin with `_` or `.` are the writer's own, as in Hadoop: `_SUCCESS`, `_temporary/`.

    Raises:
        DataError: there is no such file, or the writer has not finished.
    """
    parts: list[str] = []
    for path in found:
        names = path[len(folder.rstrip("/")) + 1 :].split("/")
        if "_temporary" in names:
            raise DataError(f"{folder} is not complete: a writer's unfinished part is {path}")
        if not any(name.startswith((".", "_")) and "=" not in name for name in names):
            parts.append(path)
    if not parts:
        raise DataError(f"{folder} is a folder without part files of its suffix")
    return parts
