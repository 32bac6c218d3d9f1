"""Class folders to labels. The folder's name is the id; a name for people is optional."""

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from service.console.text import same_name, storable
from service.errors import DataError
from service.package.labels import normalized
from service.package.manifest import Label
from service.package.manifest_checks import repeated
from service.scoring.files import check_kind
from service.tabular import delimited
from training.data.table import is_table

IMAGENETTE = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}

IMAGEWOOF = {
    "n02086240": "Shih-Tzu",
    "n02087394": "Rhodesian ridgeback",
    "n02088364": "beagle",
    "n02089973": "English foxhound",
    "n02093754": "Border terrier",
    "n02096294": "Australian terrier",
    "n02099601": "golden retriever",
    "n02105641": "Old English sheepdog",
    "n02111889": "Samoyed",
    "n02115641": "dingo",
}


def labels(classes: Sequence[str], data_folder: Path) -> tuple[Label, ...]:
    """The labels of `classes`, in the order of the logits.

    Names come from ``labels.json`` ({folder: name}) or ``labels.csv`` (folder,name) in the data
    folder. Without such a file, the names of Imagenette and Imagewoof are known. Any other class
    has its folder's name. For a table, `labels.json` beside it is read.

    Several classes may have the same name, like ImageNet's two cranes.

    Raises:
        DataError: a labels file that cannot be read, or that names no class of the data; a class
            or a name that a manifest cannot hold.
    """
    if twice := repeated(map(same_name, classes)):
        raise DataError(f"two classes are called {twice[0]!r}, written with different characters")
    names = {**IMAGENETTE, **IMAGEWOOF, **_from_file(classes, data_folder)}
    found: list[Label] = []
    for index, folder in enumerate(classes):
        name = names.get(normalized(folder), folder)
        try:
            found.append(Label(index=index, id=folder, name=name))
        except ValidationError as error:
            first = error.errors()[0]
            value = folder if first["loc"] == ("id",) else name
            raise DataError(
                f"class {storable(folder)!r}: {storable(value)!r} cannot be its "
                f"{first['loc'][0]}: {first['msg'].removeprefix('Value error, ')}"
            ) from error
    return tuple(found)


def shared_names(found: Sequence[Label]) -> list[str]:
    """A sentence for each name that several classes have."""
    by_name: dict[str, list[str]] = {}
    for label in found:
        by_name.setdefault(normalized(label.name), []).append(label.id)
    return [
        f"{len(ids)} classes are called {name!r}: {', '.join(ids)}; answers have their ids"
        for name, ids in by_name.items()
        if len(ids) > 1
    ]


def _from_file(classes: Sequence[str], data: Path) -> dict[str, str]:
    """Names by class, from the first file that exists. Classes are compared in NFC."""
    table = is_table(data)  # which may itself be called labels.csv
    for name, read in (("labels.json", _json), *(() if table else (("labels.csv", _csv),))):
        path = (data.parent if table else data) / name
        if not path.exists():
            continue
        try:
            check_kind(str(path))
            names = _unique(read(path))
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read: {error}") from error
        if not names.keys() & set(map(normalized, classes)):
            raise DataError(f"{path} names none of the classes: {', '.join(classes)}")
        return names
    return {}


def _json(path: Path) -> list[tuple[str, str]]:
    pairs = json.loads(path.read_bytes(), object_pairs_hook=list)  # keeps a key that comes twice
    if not isinstance(pairs, list) or not all(
        isinstance(pair, tuple) and isinstance(pair[1], str) for pair in pairs
    ):
        raise ValueError("must be an object of class folder to name")
    return pairs


def _csv(path: Path) -> list[tuple[str, str]]:
    with path.open("rb") as stream:
        table = delimited.read(stream, str(path), ())
        records = [*filter(None, [table.first]), *table.rest]
    for record in records:
        if len(record.cells) < 2 or any(map(str.strip, record.cells[2:])):
            raise ValueError(
                f"line {record.line}: must have two columns, class folder and name, but has "
                f"{len(record.cells)} cells"
            )
    return [(record.cells[0], record.cells[1]) for record in records]


def _unique(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    names: dict[str, str] = {}
    for folder, name in pairs:
        key, name = normalized(folder), normalized(name)
        if names.setdefault(key, name) != name:
            raise ValueError(f"it names {key!r} twice: {names[key]!r} and {name!r}")
    return names
