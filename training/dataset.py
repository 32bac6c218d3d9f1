"""A data set of labelled images: what is in it, and which part is held out.

A folder in fastai's layout, ``train/<class>/*`` and ``val/<class>/*``, or a table of path, label
and split (`training.table`). Part of train is held out, stratified and seeded, as the calibration
split: never trained on, watched during training, and what temperatures, gates and thresholds are
fitted on later. The validation set is only ever reported on.
"""

import hashlib
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.errors import ClientError, DataError
from service.inference.decode import decode
from service.inference.labels import normalized
from service.inference.manifest import Manifest, TaskName
from training.item import Item
from training.named_data import NAMES
from training.recipe import Recipe
from training.stratify import stratified
from training.table import SUFFIXES, Table, is_table, read_table

__all__ = ["Item", "Split", "readable", "scan", "split", "stratified", "unreadable", "validation"]

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
IMBALANCE_WARNING = 10.0
LEAST_CALIBRATION_IMAGES = 50
"""Temperatures, gates and prediction sets that were fitted on fewer would mean little."""


@dataclass(frozen=True)
class Split:
    """The training images and the calibration images held out of them."""

    classes: tuple[str, ...]
    train: tuple[Item, ...]
    calibration: tuple[Item, ...]
    task: TaskName = "single_label"

    def __len__(self) -> int:
        return len(self.train) + len(self.calibration)

    def fingerprint(self) -> str:
        """A sha256 over every file's label, name and size: the same data, the same fingerprint."""
        digest = hashlib.sha256()
        for item in sorted((*self.train, *self.calibration), key=lambda item: str(item.path)):
            line = f"{item.label}/{item.path.name}:{item.path.stat().st_size}\n"
            digest.update(line.encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


def scan(folder: Path) -> list[Item]:
    """The labelled files of ``folder/<class>/*``, sorted.

    Raises:
        DataError: no folder, no class folders, or no images in any of them.
    """
    if not folder.is_dir():
        raise DataError(
            f"no folder {folder}: data is a folder with train/<class>/* and val/<class>/*, a table "
            f"({', '.join(SUFFIXES)}) of path,label, or a name: {', '.join(NAMES)}"
        )
    items = [
        Item(path, normalized(class_folder.name))
        for class_folder in sorted(p for p in folder.iterdir() if p.is_dir())
        for path in sorted(class_folder.rglob("*"))
        if path.suffix.lower() in IMAGE_SUFFIXES
    ]
    if not items:
        raise DataError(f"no images under {folder}/<class>/ ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return items


def split(data: Path, recipe: Recipe) -> Split:
    """Read the training images of `data` and hold the calibration split out of them.

    A table without a `split` column first gives `recipe.validation_share` of its rows to be
    reported on. Warns where the largest class has ten times the images of the smallest.

    Raises:
        DataError: no images, or no classes.
    """
    items, task = _training_part(data, recipe)
    counts = Counter(label for item in items for label in labels_of(item, task))
    if not counts:
        raise DataError(f"{data}: no training image has a label")
    _look_at(counts, task)
    train, calibration = stratified(items, recipe.calibration_share, recipe.split_seed, task)
    if recipe.subset_share < 1:
        _, train = stratified(train, recipe.subset_share, recipe.seed, task)
    return Split(tuple(sorted(counts)), tuple(train), tuple(calibration), task)


def validation(data: Path, trained: Manifest | None = None) -> list[Item]:
    """The images to report on: ``data/val`` or ``data/<class>/*``; a table's rows of split `val`.

    Of a table without that column: the part that was held out of training where `trained` was
    trained on it, else every row.

    Raises:
        DataError: no images.
    """
    if not is_table(data):
        return scan(data / "val" if (data / "val").is_dir() else data)
    table = read_table(data, trained.task if trained else "auto")
    if table.val is None:
        return _held_out(data, trained) or list(table.train)
    if not table.val:
        raise DataError(f"{data} has no row whose split is val: nothing to report on")
    return list(table.val)


def labels_of(item: Item, task: TaskName) -> tuple[str, ...]:
    """The classes that are true of an image: one, or any number where the task is multi-label."""
    return item.labels if task == "multi_label" else (item.label,)


def trained_split(data: Path, provenance: dict[str, Any]) -> Split | None:
    """The split that a package was trained on; None where `data` is not its data set.

    A package that `quincunx export` did not write says nothing of its data set.
    """
    if "recipe" not in provenance or "dataset" not in provenance:
        return None
    trained = provenance["dataset"]
    images = split(data, Recipe.from_json(provenance["recipe"]))
    if images.fingerprint() == trained["fingerprint"]:
        return images
    if len(images) <= trained["training_images"] + trained["calibration_images"]:
        return None
    try:
        images = readable(images, lambda _: None)  # training left unreadable files out
    except DataError:  # what cannot be trained on was not
        return None
    return images if images.fingerprint() == trained["fingerprint"] else None


def _training_part(data: Path, recipe: Recipe) -> tuple[list[Item], TaskName]:
    if not is_table(data):
        task: TaskName = "single_label" if recipe.task == "auto" else recipe.task
        return scan(data / "train"), task
    table = read_table(data, recipe.task)
    if table.val is not None:
        if not table.train:
            raise DataError(f"{data} has no row whose split is train")
        return list(table.train), table.task
    train, _ = _without_split(table, recipe)
    return train, table.task


def _without_split(table: Table, recipe: Recipe) -> tuple[list[Item], list[Item]]:
    """A table that does not say: (what to train on, what to report on)."""
    seed = f"{recipe.split_seed}/validation"
    return stratified(table.train, recipe.validation_share, seed, table.task)


def _held_out(data: Path, trained: Manifest | None) -> list[Item]:
    if trained is None or "recipe" not in trained.provenance:
        return []
    recipe = Recipe.from_json(trained.provenance["recipe"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of imbalance: training has said it
        try:
            if trained_split(data, trained.provenance) is None:
                return []
        except DataError:  # it can be reported on, but no recipe could train on it
            return []
    return _without_split(read_table(data, recipe.task), recipe)[1]


def _look_at(counts: Counter[str], task: TaskName) -> None:
    (most, most_count), *_, (least, least_count) = [*counts.most_common()] * 2
    if most_count > IMBALANCE_WARNING * least_count:
        warnings.warn(
            f"classes are imbalanced: {most!r} has {most_count} images, {least!r} {least_count}",
            stacklevel=3,
        )
    if len(counts) == 1 and task == "single_label":
        warnings.warn(
            f"there is one class, {most!r}, so every image will be put into it; whether it is in "
            "an image or not is multi-label: a table with path,label where an empty label means "
            "that it is not (--set task=multi_label)",
            stacklevel=3,
        )


def unreadable(items: Sequence[Item], threads: int = 4) -> dict[Path, str]:
    """Decode every file once: the path and the reason of each that cannot be."""

    def check(item: Item) -> tuple[Path, str] | None:
        try:
            decode(item.path.read_bytes())
        except (ClientError, OSError) as error:
            return item.path, str(error)
        return None

    with ThreadPoolExecutor(threads) as pool:
        return dict(filter(None, pool.map(check, items)))


def readable(images: Split, say: Callable[[str], None]) -> Split:
    """The split without the files that cannot be decoded; each is named through `say`.

    Raises:
        DataError: a class, or the whole training part, has no readable image.
    """
    broken = unreadable((*images.train, *images.calibration))
    for path, reason in broken.items():
        say(f"left out {path}: {reason}")
    train = tuple(item for item in images.train if item.path not in broken)
    without = set(images.classes) - {
        label for item in train for label in labels_of(item, images.task)
    }
    if without:
        raise DataError(f"no readable training image of {', '.join(sorted(without))}")
    calibration = tuple(item for item in images.calibration if item.path not in broken)
    return Split(images.classes, train, calibration, images.task)
