"""Class folders to labels: the folder is the id, and a name for people may be given for it."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from service.errors import DataError
from service.inference.manifest import Label
from training.table import is_table

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
    folder; else those of Imagenette and Imagewoof are known; else a class is called what its folder
    is. Of a table `labels.json` beside it is read.

    Raises:
        DataError: a labels file that cannot be read, or that names no class of the data.
    """
    names = {**IMAGENETTE, **IMAGEWOOF, **_from_file(classes, data_folder)}
    return tuple(
        Label(index=index, id=folder, name=names.get(folder, folder))
        for index, folder in enumerate(classes)
    )


def _from_file(classes: Sequence[str], data: Path) -> dict[str, str]:
    table = is_table(data)  # which may itself be called labels.csv
    for name, read in (("labels.json", _json), *(() if table else (("labels.csv", _csv),))):
        path = (data.parent if table else data) / name
        if not path.exists():
            continue
        try:
            names = read(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read: {error}") from error
        if not names.keys() & set(classes):
            raise DataError(f"{path} names none of the classes: {', '.join(classes)}")
        return names
    return {}


def _json(text: str) -> dict[str, str]:
    names = json.loads(text)
    if not isinstance(names, dict) or not all(isinstance(v, str) for v in names.values()):
        raise ValueError("must be an object of class folder to name")
    return names


def _csv(text: str) -> dict[str, str]:
    rows = [row for row in csv.reader(text.splitlines()) if row]
    if any(len(row) < 2 for row in rows):
        raise ValueError("must have two columns: class folder, name")
    return {row[0].strip(): row[1].strip() for row in rows}
