"""Find the class of a model that a label in a table, or the name of a folder, means."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from service.console.nearest import with_hint
from service.console.text import same_name
from service.errors import DataError
from service.package.manifest import Label, Manifest

WHOLE = re.compile(r"[+-]?\d{1,18}(\.0*)?")
MOST_SHOWN = 50
TRUTH_VALUES = ("true", "false")


def normalized(text: str) -> str:
    """A label for comparison: Unicode NFC, without outer spaces. macOS writes names in NFD."""
    return same_name(text).strip()


def _as_value(text: str) -> str | None:
    """One spelling of a number or a truth value: "3", "3.0" and "03" agree, "True" and "true" too.

    pandas writes whole numbers as 3.0 if a column has gaps. None for any other text.
    """
    if WHOLE.fullmatch(text):
        return str(int(text.partition(".")[0]))
    return text.lower() if text.lower() in TRUTH_VALUES else None


class LabelIndex:
    """Finds the class that a label means: by id, else by name, else by index.

    Ids and names are compared in Unicode NFC and as numbers ("3.0" is 3). The index is not tried if
    an id or a name of the model is a number.
    """

    def __init__(self, labels: Sequence[Label], *, indices: bool = True) -> None:
        """`indices`: whether a number may be the index of a class."""
        self._ids = {label.id: label.id for label in labels}
        by_id = _grouped((normalized(label.id), label.id) for label in labels)
        by_name = _grouped((normalized(label.name), label.id) for label in labels)
        self._named = (by_id, by_name)
        self._values = tuple(
            _grouped(
                (value, i) for text, ids in by.items() if (value := _as_value(text)) for i in ids
            )
            for by in self._named
        )
        if indices and not any(WHOLE.fullmatch(text) for by in self._named for text in by):
            self._values += (_grouped((str(label.index), label.id) for label in labels),)

    def find(self, text: str) -> str | None:
        """The id of the class, or None if the model has no such class.

        Raises:
            DataError: several classes have this name.
        """
        if text in self._ids:
            return text
        plain = normalized(text)
        value = _as_value(plain)
        for tables, key in ((self._named, plain), (self._values, value)):
            for table in tables:
                found = table.get(key, ()) if key is not None else ()
                if len(found) > 1:
                    raise DataError(
                        f"{len(found)} classes are called {plain!r}: {', '.join(found[:10])}; "
                        "label these images with the class ids"
                    )
                if found:
                    return found[0]
        return None

    def of_folder(self, name: str) -> str | None:
        """The id of the class with the name of a folder.

        None: no class has this name, or several have it.
        """
        if name in self._ids:
            return name
        plain = normalized(name)
        for by in self._named:
            if found := by.get(plain):
                return found[0] if len(found) == 1 else None
        return None


def distinct_names(labels: Sequence[Label]) -> list[str]:
    """The text for each class: its name, with its id if other classes have the same name.

    ImageNet has two cranes: `crane (n02012849)` is the bird.
    """
    names = Counter(normalized(label.name) for label in labels)
    return [
        label.name if names[normalized(label.name)] == 1 else f"{label.name} ({label.id})"
        for label in labels
    ]


def class_ids(labels: Iterable[str], manifest: Manifest) -> dict[str, str]:
    """The id of the class for each of the true labels of a data set, by id or name.

    Raises:
        DataError: a label that is not a class of the model, or the name of several.
    """
    index = LabelIndex(manifest.labels, indices=False)
    images = Counter(labels)
    found = {label: index.find(label) for label in images}
    unknown = {label: images[label] for label, label_id in found.items() if label_id is None}
    if unknown:
        ids = [label.id for label in manifest.labels]
        known = ", ".join(ids[:MOST_SHOWN]) + (", …" if len(ids) > MOST_SHOWN else "")
        message = (
            f"{manifest.name} has no class {min(unknown)!r}; its classes: {known}; all labels that "
            f"are not among them, with their numbers of images: {listed(unknown)}"
        )
        names = [text for label in manifest.labels for text in (label.id, label.name)]
        raise DataError(with_hint(message, min(unknown), names))
    return {label: label_id for label, label_id in found.items() if label_id is not None}


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """From each text to the ids that it may mean, each once."""
    found: dict[str, list[str]] = {}
    for text, label_id in pairs:
        ids = found.setdefault(text, [])
        if label_id not in ids:
            ids.append(label_id)
    return found


def listed(images: Mapping[str, int], most: int = 10, of: int | None = None) -> str:
    """Labels with the number of their images, the commonest first: `'a' (3), 'b' (1)`.

    `of` is the total number of labels, if `images` has only the commonest.
    """
    ranked = sorted(images.items(), key=lambda pair: (-pair[1], pair[0]))
    text = ", ".join(f"{label!r} ({count})" for label, count in ranked[:most])
    more = (len(ranked) if of is None else of) - min(most, len(ranked))
    return text + (f" and {more} more" if more > 0 else "")
