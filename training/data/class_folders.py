"""Class folders, ``<class>/*``: the folder is the label of every image in it, however deep.

Hidden and system folders are not classes. Files that are not images are skipped and counted, by the
same rule as in scoring (`service.listing.image_files`). Folders whose names mean the same class are
refused.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from service.console.text import storable
from service.errors import DataError
from service.listing.image_files import is_decoded, is_hidden
from service.listing.skipped import HIDDEN, OUTSIDE, Skipped
from service.package.labels import normalized
from service.scoring.sources.entries import Entry, entries
from service.scoring.sources.walk import UnreadablePath, walk
from training.data.item import Item
from training.data.labelled import Labelled
from training.data.table_rows import SUFFIXES

NAMES_OF_CLASSES = ("labels.json", "labels.csv")
"""Files beside the class folders that `training.data.labels` reads."""
MOST_NAMED = 10


def read_class_folders(folder: Path, *, allow_empty: bool = False) -> Labelled:
    """The labelled images of ``folder/<class>/*``, sorted by class folder and path.

    A label is the folder's name in Unicode's composed form (NFC), without outer spaces.
    `allow_empty` turns a class folder that holds nothing into a note.

    Raises:
        DataError: no class folder, one without an image, or names that are ambiguous or not text.
    """
    skipped = Skipped()
    classes = _classes(folder, skipped)
    notes = [*_check_names(folder, classes)]
    items: list[Item] = []
    empty: list[str] = []
    lost: dict[str, Skipped] = {}
    for name in classes:
        label, beside = label_of(name), Skipped()
        own = [Item(path, label) for path in _images(folder / name, beside)]
        items += own
        skipped.extend(beside)
        if not own and beside.files:
            lost[label] = beside
        elif not own:
            empty.append(label)
    if not items:
        raise DataError(f"no images under {folder}/<class>/" + _held(skipped) + table_hint(folder))
    if lost:
        held = "".join(_held(beside) for beside in list(lost.values())[:MOST_NAMED])
        raise DataError(
            f"no image of {listed(lost)} under {folder} can be decoded{held}. Convert the images, "
            "or remove the folder"
        )
    if empty and not allow_empty:
        raise DataError(
            f"no image of {listed(empty)} under {folder}: add images, or remove the empty folder"
        )
    if empty:
        notes.append(f"no image of {listed(empty)} under {folder}: the folder is empty")
    return Labelled(tuple(items), skipped, tuple(notes))


def table_hint(folder: Path) -> str:
    """The end of a message about a folder of images that has a table of their labels beside them.

    Hugging Face's `imagefolder` is such a folder.
    """
    for entry in sorted(_entries(folder), key=lambda entry: entry.name):
        path = folder / entry.name
        if is_hidden(entry.name) or entry.name in NAMES_OF_CLASSES:
            continue
        if path.suffix.lower() in SUFFIXES:
            return f". If {path} is a table of their labels, name it instead of the folder"
        if path.suffix.lower() == ".jsonl":
            return f". {path} is not read: write the labels into a table ({', '.join(SUFFIXES)})"
    return ""


def label_of(name: str) -> str:
    """The label that a class folder's name stands for."""
    return normalized(storable(name))


def validation_folder(data: Path) -> Path:
    """The folder of validation images: ``data/val``, or ``data/valid`` as fastai also names it.

    `valid` may also be the name of a class, so it counts only beside ``data/train``.

    Raises:
        DataError: the data has both folders.
    """
    val, valid = data / "val", data / "valid"
    if not (data / "train").is_dir() or not valid.is_dir():
        return val
    if val.is_dir():
        raise DataError(f"{data} has both val/ and valid/: merge the two folders, or rename one")
    return valid


def class_names(folder: Path) -> list[str]:
    """The names of the class folders in `folder`, sorted; hidden and system folders are none.

    Raises:
        DataError: the folder cannot be listed.
    """
    return sorted(_classes(folder, Skipped()))


def compared(train: Labelled, val: Path) -> list[str]:
    """Notes on classes that only one of the two parts has; none where there is no `val`."""
    if not val.is_dir():
        return []
    try:
        reported = read_class_folders(val, allow_empty=True)
    except DataError as error:
        return [str(error)]
    trained, held = ({item.label for item in part} for part in (train, reported))
    notes: list[str] = []
    if only := sorted(trained - held):
        notes.append(f"no image of {listed(only)} under {val}, so its accuracy cannot be measured")
    if only := sorted(held - trained):
        notes.append(f"no image of {listed(only)} to train on. evaluate will refuse {val}")
    return notes


def _classes(folder: Path, skipped: Skipped) -> list[str]:
    """The names of the class folders; anything else in the folder is counted."""
    names: list[str] = []
    for entry in _entries(folder):
        path, is_folder = f"{folder / entry.name}", entry.kind == "folder"
        if is_hidden(entry.name, is_folder=is_folder):
            skipped.add(f"{path}/" if is_folder else path, HIDDEN)
        elif is_folder:
            names.append(entry.name)
        elif entry.name not in NAMES_OF_CLASSES:
            skipped.add(path, OUTSIDE)
    return names


def _entries(folder: Path) -> Iterator[Entry]:
    try:
        yield from entries(str(folder))
    except OSError as error:
        raise DataError(f"{folder} cannot be listed: {error.strerror or error}") from error


def _images(folder: Path, skipped: Skipped) -> Iterator[Path]:
    for path in walk(str(folder), skipped, wanted=is_decoded):
        if isinstance(path, UnreadablePath):
            raise DataError(f"{path} cannot be listed: {path.reason}")
        yield Path(path)


def _check_names(folder: Path, names: Iterable[str]) -> Iterator[str]:
    """Notes on names that may surprise.

    Raises:
        DataError: a name that is not text, or several names of one class.
    """
    labels: dict[str, list[str]] = {}
    for name in names:
        if not _is_text(name) or not label_of(name):
            raise DataError(
                f"the name of the class folder {storable(name)!r} in {folder} is not text (UTF-8): "
                "rename the folder"
            )
        labels.setdefault(label_of(name), []).append(name)
    for label, same in labels.items():
        if len(same) > 1:
            raise DataError(
                f"{len(same)} folders in {folder} are of the class {label!r}: "
                f"{', '.join(map(ascii, same))}. Their names differ only in outer spaces or in the "
                "form of Unicode: merge or rename them"
            )
        if same[0].strip() != same[0]:
            yield f"the class folder {same[0]!r} in {folder} is read as {label!r}"
    cases: dict[str, list[str]] = {}
    for label in labels:
        cases.setdefault(label.casefold(), []).append(label)
    for same in cases.values():
        if len(same) > 1:
            yield f"classes whose names differ only in case stay separate: {listed(same)}"


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8", "surrogateescape").decode()
    except UnicodeError:
        return False
    return True


def listed(labels: Iterable[str]) -> str:
    """At most ten names in quotes, for a message."""
    names = [repr(label) for label in labels]
    rest = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + rest


def _held(skipped: Skipped) -> str:
    return "".join(f"; {line}" for line in skipped.lines())
