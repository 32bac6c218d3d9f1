"""Several paths in the text of one setting."""

import json
import os
from collections.abc import Iterable
from pathlib import Path


def split_paths(text: str) -> tuple[Path, ...]:
    """The paths in `text`: separated as in PATH, or a JSON array of strings.

    A list as in PATH cannot hold a path that contains the separator, such as
    `2024-05-01T12:30/model`. An array can hold every path.

    Raises:
        ValueError: an array of something else than paths.
    """
    if not (text.startswith('["') and text.endswith('"]')):
        return tuple(Path(part.strip()) for part in text.split(os.pathsep) if part.strip())
    try:
        array: list[object] = json.loads(text)
    except ValueError as error:
        raise ValueError(f"it looks like a JSON array, but {error}") from None
    if not all(isinstance(path, str) and "\0" not in path for path in array):
        raise ValueError("it must be a JSON array of paths")
    return tuple(Path(str(path)) for path in array)


def join_paths(paths: Iterable[Path]) -> str:
    """The text that `split_paths` reads as `paths`. Their names may hold any character."""
    return json.dumps([str(path) for path in paths])
