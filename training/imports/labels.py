"""The classes of an imported model, from a file."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from service.errors import UsageError
from service.package.labels import normalized
from service.package.manifest import MAX_NAME_LENGTH, Label
from service.scoring.files import check_kind

NUMBERS = "numbers"
MOST_BYTES = 64 * 1024 * 1024


def read_labels(given: str, classes: int) -> tuple[Label, ...]:
    """The labels of `classes` classes, in the order of the logits.

    `given` is a file, or "numbers" for 0, 1, 2, …. The file is JSON, or text with one name on each
    line. JSON is a list of names, of [id, name] pairs or of {"id", "name"}; or an object from the
    index of a class to one of these, as in ImageNet's ``imagenet_class_index.json``.

    Raises:
        UsageError: a file that cannot be read, or that holds another number of classes.
    """
    if given == NUMBERS:
        return labelled([str(index) for index in range(classes)])
    path = Path(given)
    try:
        check_kind(str(path))
        if path.stat().st_size > MOST_BYTES:
            raise UsageError(
                f"{path} is over {MOST_BYTES // 2**20} MiB: it is not a file of labels"
            )
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise UsageError(f"labels: {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"labels: {path} is not UTF-8: {error.reason}") from error
    entries = _json(text, path) if path.suffix.lower() == ".json" else _lines(text)
    while entries and not isinstance(entries[-1], dict) and not str(entries[-1]).strip():
        entries.pop()  # empty lines at the end
    if len(entries) != classes:
        raise UsageError(
            f"labels: {path} has {len(entries)} labels, but the model answers for {classes} classes"
        )
    return labelled(entries, str(path))


def labelled(entries: Sequence[object], where: str = "labels") -> tuple[Label, ...]:
    """Labels of names, [id, name] pairs or {"id", "name"}. Names that repeat get their index.

    Raises:
        UsageError: an entry that is none of these, or an empty one.
    """
    pairs = [_pair(entry, index, where) for index, entry in enumerate(entries)]
    times = Counter(normalized(id) for id, _ in pairs)
    taken = {id for id, count in times.items() if count == 1}
    found: list[Label] = []
    for index, (id, name) in enumerate(pairs):
        if times[normalized(id)] > 1:
            id = f"{id} ({index})"
            while normalized(id) in taken:  # another class is called so
                id += f" ({index})"
            taken.add(normalized(id))
        found.append(Label(index=index, id=id, name=name))
    return tuple(found)


def _pair(entry: object, index: int, where: str) -> tuple[str, str]:
    if isinstance(entry, dict):
        entry = [entry.get("id", entry.get("name")), entry.get("name", entry.get("id"))]
    parts = list(entry) if isinstance(entry, (list, tuple)) else [entry, entry]
    texts = [str(part).strip() for part in parts if isinstance(part, (str, int))]
    if len(parts) != 2 or len(texts) != 2 or not all(texts):
        raise UsageError(f"{where}: the label of class {index} is {str(entry)[:80]!r}, not a name")
    if long := [text for text in texts if len(text) > MAX_NAME_LENGTH]:
        raise UsageError(
            f"{where}: the label of class {index} has {len(long[0])} characters; the limit is "
            f"{MAX_NAME_LENGTH}"
        )
    return texts[0], texts[1]


def _lines(text: str) -> list[object]:
    """The lines of a text file. `str.splitlines` also ends a line at characters within a name."""
    return [*text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object; of a key that comes twice, `json` would silently drop the first value."""
    times = Counter(key for key, _ in pairs)
    if twice := [key for key, count in times.items() if count > 1]:
        raise ValueError(f"the key {twice[0]!r} comes {times[twice[0]]} times in one object")
    return dict(pairs)


def _json(text: str, path: Path) -> list[object]:
    try:
        found = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"labels: {path} is not JSON that can be used: {error}") from error
    if isinstance(found, list):
        return found
    if not isinstance(found, dict):
        raise UsageError(f"labels: {path} must hold a list or an object")
    expected = [str(index) for index in range(len(found))]
    if set(found) != set(expected):
        raise UsageError(f"labels: the keys of {path} must be the indices 0 to {len(found) - 1}")
    return [found[index] for index in expected]
