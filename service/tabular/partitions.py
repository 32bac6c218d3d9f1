"""Tables that are a folder of part files, as Spark, Hive and DuckDB write them."""

from urllib.parse import unquote

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
