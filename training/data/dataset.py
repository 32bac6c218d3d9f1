"""A data set of labelled images: what is in it, and which part is held out.

A data set is a folder in fastai's layout, ``train/<class>/*`` and ``val/<class>/*`` (or `valid`),
or a flat folder of ``<class>/*``, which gets a split (`training.data.flat_folder`), or a table of
path, label and split (`training.data.table`). Part of train is held out as the
calibration split, stratified and seeded. It is never trained on. Training reports its loss, and
temperatures, gates and thresholds are fitted on it. The validation set is used for reports only.
"""

import hashlib
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from service.console.nearest import with_hint, with_path_hint
from service.errors import ClientError, DataError
from service.inference.decode import decode_image
from service.inference.tta.task import TASKS
from service.listing.skipped import Skipped
from service.package.manifest import Manifest, TaskName
from training.data.class_folders import compared, read_class_folders, validation_folder
from training.data.content.copies import Copies, copies_among, notes_on
from training.data.content.digest import Digest, content_digest
from training.data.content.sketch import Sketch
from training.data.flat_folder import check_flat, is_flat, read_flat_folder
from training.data.item import Item
from training.data.labelled import Labelled
from training.data.named_data import NAMES
from training.data.pixels import read_image
from training.data.stratify import NO_COPIES, stratified, with_every_label
from training.data.table import SUFFIXES, LabelTable, is_table, read_table
from training.recipe import Recipe
from training.task import TRAINING_TASKS

__all__ = ["Item", "Split", "readable", "scan", "split", "stratified", "unreadable", "validation"]

IMBALANCE_WARNING = 10.0
LEAST_SUBSET_IMAGES = 160
"""The least number of images that `subset_share` keeps: 20 steps of the smallest batch."""
LEAST_CALIBRATION_IMAGES = 50
"""With fewer images, fitted temperatures, gates and prediction sets are not reliable."""


@dataclass(frozen=True)
class Split:
    """The training images and the calibration images held out of them."""

    classes: tuple[str, ...]
    train: tuple[Item, ...]
    calibration: tuple[Item, ...]
    task: TaskName = "single_label"
    skipped: Skipped = field(default_factory=Skipped)
    """Files of the data set that are not images, or not of a format that is decoded."""
    notes: tuple[str, ...] = ()
    """What a person should know about the data before training."""
    flat: bool = False
    """Whether the images for reports were taken out of a flat folder by their content."""
    copies: Copies = field(default_factory=dict[Path, int])
    """Files that another file equals. They are in the same part."""

    def __len__(self) -> int:
        return len(self.train) + len(self.calibration)

    def paths(self) -> list[Path]:
        """All files."""
        return [item.path for item in (*self.train, *self.calibration)]

    def lines(self) -> list[str]:
        """The notes and the skipped files, for people."""
        return [*self.notes, *self.skipped.lines()]

    def fingerprint(self) -> str:
        """A sha256 over every file's label, name and size. Equal data has an equal fingerprint."""
        digest = hashlib.sha256()
        for item in sorted((*self.train, *self.calibration), key=lambda item: str(item.path)):
            line = f"{item.label}/{item.path.name}:{item.path.stat().st_size}\n"
            digest.update(line.encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


def scan(folder: Path, *, allow_empty: bool = True) -> Labelled:
    """The labelled images of ``folder/<class>/*``: see `training.data.class_folders`.

    Raises:
        DataError: no folder, or no class folders that can be read.
    """
    for file in (folder, folder.parent):
        if file.is_file():
            raise DataError(
                f"{file} is a file, but data is a folder with train/<class>/* and val/<class>/*, "
                f"or a table ({', '.join(SUFFIXES)}) with the columns path and label"
            )
    if not folder.is_dir():
        message = (
            f"no folder {folder}: data is a folder with train/<class>/* and val/<class>/*, a table "
            f"({', '.join(SUFFIXES)}) of path,label, or a name: {', '.join(NAMES)}"
        )
        missing = folder if folder.parent.is_dir() else folder.parent
        with_path = with_path_hint(message, missing)
        raise DataError(
            with_path if with_path != message else with_hint(message, str(missing), NAMES)
        )
    return read_class_folders(folder, allow_empty=allow_empty)


def split(data: Path, recipe: Recipe) -> Split:
    """Read the training images of `data` and hold the calibration split out of them.

    From a table without a `split` column, `recipe.validation_share` of the rows is first taken out
    for reports. At least one image is held out, unless `recipe.calibration_share` is 0. Copies of a
    file are held out together. Warns if the largest class has ten times the images of the smallest.

    Raises:
        DataError: no images, or no classes.
    """
    items, task = _training_part(data, recipe)
    of_task = TRAINING_TASKS[task]
    counts = Counter(label for item in items for label in of_task.labels_of(item))
    if not counts:
        raise DataError(f"{data}: no training image has a label")
    _look_at(counts, task)
    copies, seed = _copies(items, recipe), recipe.split_seed
    train, calibration = stratified(items, recipe.calibration_share, seed, task, copies)
    if not calibration and recipe.calibration_share:  # so few images that the share rounds to none
        train, calibration = stratified(items, 1 / len(items), seed, task, copies)
    train, calibration = with_every_label(train, calibration, task, copies)
    share = max(recipe.subset_share, LEAST_SUBSET_IMAGES / max(1, len(train)))
    if share < 1:
        _, train = stratified(train, share, recipe.seed, task)
    classes = tuple(sorted(counts))
    flat = not is_table(data) and is_flat(data)
    notes = (*items.notes, *notes_on(items, copies))
    return Split(
        classes, tuple(train), tuple(calibration), task, items.skipped, notes, flat, copies
    )


def validation(data: Path, trained: Manifest | None = None) -> Labelled:
    """The images for reports: ``data/val`` or ``data/<class>/*``, or a table's rows of split `val`.

    From a flat folder: the images that were kept out of training if `trained` was trained on this
    folder, else every image. From a table without a column `split`: the rows that were kept out of
    training if `trained` was trained on this table, else every row.

    Raises:
        DataError: no images.
    """
    if not is_table(data):
        val = validation_folder(data)
        if val.is_dir():
            return scan(val)
        return _reported_of_flat(data, trained) or scan(data)
    table = read_table(data, trained.task if trained else "auto")
    if table.val is None:
        return Labelled(tuple(_held_out(data, trained) or table.train))
    if not table.val:
        raise DataError(f"{data} has no row whose split is val: nothing to report on")
    return Labelled(table.val)


def trained_split(data: Path, provenance: dict[str, Any]) -> Split | None:
    """The split that a package was trained on; None if `data` is not its data set.

    A package that `quincunx export` did not write does not name its data set.
    """
    if "recipe" not in provenance or "dataset" not in provenance:
        return None
    trained = provenance["dataset"]
    images = split(data, Recipe.from_json(provenance["recipe"]))
    if images.fingerprint() == trained["fingerprint"]:
        return images if _same_parts(data, images, provenance) else None
    if len(images) <= trained["training_images"] + trained["calibration_images"]:
        return None
    try:
        images = readable(images, lambda _: None)  # training left unreadable files out
    except DataError:  # no recipe could have trained on this data
        return None
    return images if images.fingerprint() == trained["fingerprint"] else None


def _same_parts(data: Path, images: Split, provenance: dict[str, Any]) -> bool:
    """Whether the training part is the one of the training.

    With `split_by=order` the parts change if the rows of a table are sorted in another way.
    """
    known = Sketch.of_provenance(provenance)
    if known is None or not is_table(data) or provenance["recipe"].get("split_by") == "content":
        return True
    now = Sketch.of((item.path for item in images.train), known.version)
    return now.images == known.images and np.array_equal(now.digests, known.digests)


def _training_part(data: Path, recipe: Recipe) -> tuple[Labelled, TaskName]:
    if not is_table(data):
        task: TaskName = "single_label" if recipe.task == "auto" else recipe.task
        if data.is_dir() and not (data / "train").is_dir():
            check_flat(data)
            return _flat(data, recipe)[0], task
        found = scan(data / "train", allow_empty=False)
        notes = (*found.notes, *compared(found, validation_folder(data)))
        return Labelled(found.items, found.skipped, notes), task
    table = read_table(data, recipe.task)
    if table.val is not None:
        if not table.train:
            raise DataError(f"{data} has no row whose split is train")
        return Labelled(_ordered(table.train, recipe)), table.task
    train, _ = _without_split(table, recipe)
    return Labelled(tuple(train)), table.task


def _without_split(table: LabelTable, recipe: Recipe) -> tuple[list[Item], list[Item]]:
    """For a table without a `split` column: (items for training, items for reports)."""
    items, seed = _ordered(table.train, recipe), f"{recipe.split_seed}/validation"
    copies = _copies(items, recipe)
    train, val = stratified(items, recipe.validation_share, seed, table.task, copies)
    return with_every_label(train, val, table.task, copies)


def _flat(data: Path, recipe: Recipe, digest: Digest = content_digest) -> tuple[Labelled, Labelled]:
    """For a flat folder: (images for training, images for reports)."""
    together, share = recipe.split_by == "content", recipe.validation_share
    return read_flat_folder(data, share, recipe.split_seed, together=together, digest=digest)


def _ordered(items: Sequence[Item], recipe: Recipe) -> tuple[Item, ...]:
    """The rows of a table in an order that does not change if the table is sorted."""
    if recipe.split_by == "order":
        return tuple(items)
    return tuple(sorted(items, key=lambda item: str(item.path)))


def _copies(items: Sequence[Item], recipe: Recipe) -> Copies:
    """Files of `items` that must stay together."""
    return copies_among(item.path for item in items) if recipe.split_by == "content" else NO_COPIES


def _reported_of_flat(data: Path, trained: Manifest | None) -> Labelled | None:
    """The images that `trained` kept out of its training on the flat folder `data`.

    None if it was trained on something else. Files may have been added or removed since the
    training, but most of its images must be there.
    """
    provenance = trained.provenance if trained else {}
    sketch = Sketch.of_provenance(provenance)
    if sketch is None or not provenance["dataset"].get("flat") or not is_flat(data):
        return None
    recipe = Recipe.from_json(provenance["recipe"])
    train, reported = _flat(data, recipe, sketch.digest)
    return reported if sketch.share_in(item.path for item in train) > 0.5 else None


def _held_out(data: Path, trained: Manifest | None) -> list[Item]:
    if trained is None or "recipe" not in trained.provenance:
        return []
    recipe = Recipe.from_json(trained.provenance["recipe"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # training has already warned of imbalance
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
    if len(counts) == 1 and TASKS[task].one_is_true:
        warnings.warn(
            f"there is only one class, {most!r}, so every answer will be {most!r}. To ask whether "
            "an image shows it, use a multi-label table of path,label, with an empty label where "
            "it is absent (--set task=multi_label)",
            stacklevel=3,
        )


def unreadable(items: Sequence[Item], threads: int = 4) -> dict[Path, str]:
    """Decode every file once. Return the path and the reason for each that cannot be decoded.

    Raises:
        OutOfResources: memory or open files ran out; this is not the fault of an image.
    """

    def check(item: Item) -> tuple[Path, str] | None:
        try:
            decode_image(read_image(item.path))
        except (ClientError, OSError) as error:
            return item.path, str(error)
        return None

    with ThreadPoolExecutor(threads) as pool:
        return dict(filter(None, pool.map(check, items)))


def readable(
    images: Split, log: Callable[[str], None], known: Mapping[Path, str] | None = None
) -> Split:
    """The split without the files that cannot be decoded. `log` gets a message for each of them.

    `log` also gets the notes about the data and the files that were skipped earlier. `known` are
    these files and the reasons, if all files have been decoded before.

    Raises:
        DataError: a class, or the whole training part, has no readable image.
    """
    for line in images.lines():
        log(line)
    broken = unreadable((*images.train, *images.calibration)) if known is None else known
    for path, reason in broken.items():
        log(f"left out {path}: {reason}")
    train = tuple(item for item in images.train if item.path not in broken)
    labels_of = TRAINING_TASKS[images.task].labels_of
    without = set(images.classes) - {label for item in train for label in labels_of(item)}
    if without:
        raise DataError(f"no readable training image of {', '.join(sorted(without))}")
    calibration = tuple(item for item in images.calibration if item.path not in broken)
    return replace(images, train=train, calibration=calibration)
