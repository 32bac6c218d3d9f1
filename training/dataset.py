"""A folder of labelled images: what is in it, and which part is held out.

The layout is fastai's: ``train/<class>/*`` and ``val/<class>/*``. Part of train is held out,
stratified and seeded, as the calibration split: never trained on, watched during training, and
what temperatures and gates are fitted on later. The validation set is only ever reported on.
"""

import hashlib
import random
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from service.errors import ClientError, DataError
from service.inference.decode import decode
from training.recipe import Recipe

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
IMBALANCE_WARNING = 10.0


@dataclass(frozen=True)
class Item:
    """One labelled file."""

    path: Path
    label: str


@dataclass(frozen=True)
class Split:
    """The training images and the calibration images held out of them."""

    classes: tuple[str, ...]
    train: tuple[Item, ...]
    calibration: tuple[Item, ...]

    def fingerprint(self) -> str:
        """A sha256 over every file's label, name and size: the same data, the same fingerprint."""
        digest = hashlib.sha256()
        for item in sorted((*self.train, *self.calibration), key=lambda item: str(item.path)):
            digest.update(f"{item.label}/{item.path.name}:{item.path.stat().st_size}\n".encode())
        return digest.hexdigest()


def scan(folder: Path) -> list[Item]:
    """The labelled files of ``folder/<class>/*``, sorted.

    Raises:
        DataError: no folder, no class folders, or no images in any of them.
    """
    if not folder.is_dir():
        raise DataError(f"no folder {folder}: the layout is train/<class>/* and val/<class>/*")
    items = [
        Item(path, class_folder.name)
        for class_folder in sorted(p for p in folder.iterdir() if p.is_dir())
        for path in sorted(class_folder.rglob("*"))
        if path.suffix.lower() in IMAGE_SUFFIXES
    ]
    if not items:
        raise DataError(f"no images under {folder}/<class>/ ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return items


def stratified(items: Sequence[Item], share: float, seed: int) -> tuple[list[Item], list[Item]]:
    """Split off `share` of every class (rounded, seeded): (the rest, the share)."""
    by_class: dict[str, list[Item]] = {}
    for item in items:
        by_class.setdefault(item.label, []).append(item)
    rest: list[Item] = []
    taken: list[Item] = []
    for label in sorted(by_class):
        members = by_class[label]
        random.Random(f"{seed}/{label}").shuffle(members)
        count = round(share * len(members))
        taken += members[:count]
        rest += members[count:]
    return rest, taken


def split(data: Path, recipe: Recipe) -> Split:
    """Scan ``data/train`` and hold the calibration split out of it.

    Warns where the largest class has ten times the images of the smallest.

    Raises:
        DataError: no images, or fewer than two classes.
    """
    items = scan(data / "train")
    counts = Counter(item.label for item in items)
    if len(counts) < 2:
        raise DataError(
            f"{data / 'train'} has one class, {next(iter(counts))!r}; at least 2 needed"
        )
    (most, most_count), *_, (least, least_count) = counts.most_common()
    if most_count > IMBALANCE_WARNING * least_count:
        warnings.warn(
            f"classes are imbalanced: {most!r} has {most_count} images, {least!r} {least_count}",
            stacklevel=2,
        )
    train, calibration = stratified(items, recipe.calibration_share, recipe.seed)
    if recipe.subset_share < 1:
        _, train = stratified(train, recipe.subset_share, recipe.seed)
    return Split(tuple(sorted(counts)), tuple(train), tuple(calibration))


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
    without = set(images.classes) - {item.label for item in train}
    if without:
        raise DataError(f"no readable training image of {', '.join(sorted(without))}")
    calibration = tuple(item for item in images.calibration if item.path not in broken)
    return Split(images.classes, train, calibration)
