"""Which images a package is calibrated on: its held-out split, or any labelled folder or table."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from service.errors import DataError
from service.package.package import ModelPackage
from training.data.class_folders import validation_folder
from training.data.content.sketch import Sketch, trained_on
from training.data.dataset import LEAST_CALIBRATION_IMAGES, Split, trained_split, validation
from training.data.item import Item
from training.data.table import is_table
from training.evaluation.predictions import LabelledFile

Log = Callable[[str], None]
TOO_SURE = "a package that is calibrated on training images is too sure of its answers"


def calibration_images(
    package: ModelPackage, data: Path, log: Log = lambda _: None
) -> Sequence[LabelledFile]:
    """The calibration split of the package's own data set, or else the images of `data`.

    Other data is a folder of `<class>/*`, a folder with `val/<class>/*`, or a table (its rows of
    split `val`, where it has splits). `log` gets the notes about the data, and a warning where the
    images may have been trained on.

    Raises:
        DataError: no images, or too few.
    """
    if (images := _own_split(package, data)) is not None:
        return _held_out(package, images, data, log)
    found = validation(data, package.manifest)
    for line in found.lines():
        log(line)
    if not is_table(data) and (val := validation_folder(data)).is_dir():
        log(f"calibrating on {val}: measure the package on other images than these")
    log(_about_training(package, data, found.items))
    return _enough(found.items, data)


def held_out(
    package: ModelPackage, data: Path, log: Log = lambda _: None
) -> Sequence[LabelledFile]:
    """The calibration split of the data set that the package was trained on.

    `log` gets messages about files that are not images, and the notes about the data.

    Raises:
        DataError: the data is not what the package was trained on, or its split is too small.
    """
    images = trained_split(data, package.manifest.provenance)
    if images is None:
        raise DataError(
            f"{data} is not the data set that {package.manifest.name} was trained on: "
            "its calibration images may have been trained on"
        )
    return _held_out(package, images, data, log)


def training_images(package: ModelPackage, data: Path) -> Sequence[LabelledFile]:
    """The images that the package was trained on; none where `data` is another data set.

    The unknown score is fitted on them.
    """
    images = _own_split(package, data)
    return () if images is None else images.train


def _held_out(package: ModelPackage, images: Split, data: Path, log: Log) -> Sequence[LabelledFile]:
    """The calibration split, with a warning where the first weights already knew its images."""
    for line in images.lines():
        log(line)
    paths = [item.path for item in images.calibration]
    if known := trained_on(package.manifest.provenance, paths):
        log(
            f"warning: {package.manifest.name}, or the weights that it started from, was trained "
            f"on {known}: {TOO_SURE}"
        )
    return _enough(images.calibration, data, " (calibration_share in the recipe)")


def _about_training(package: ModelPackage, data: Path, items: Sequence[Item]) -> str:
    """A message about whether the package was trained on some of these images."""
    name, provenance = package.manifest.name, package.manifest.provenance
    if known := trained_on(provenance, [item.path for item in items]):
        return f"warning: {name} was trained on {known}: {TOO_SURE}. Calibrate it on other images"
    if sketch := Sketch.of_provenance(provenance):
        compared = "their contents" if sketch.is_whole else "a sample of the contents"
        return f"{name} was not trained on these images, as far as {compared} can tell"
    if "dataset" in provenance:
        return (
            f"{data} is not the data set that {name} was trained on, but it may share images with "
            f"it: {TOO_SURE}"
        )
    return f"it is not known what {name} was trained on: {TOO_SURE}"


def _own_split(package: ModelPackage, data: Path) -> Split | None:
    """The split of the training data; None where `data` is another data set."""
    for folder in (data, data.parent) if data.name == "train" else (data,):
        # A folder without train/, or data that no recipe could train on, is another data set.
        with suppress(DataError):
            if (images := trained_split(folder, package.manifest.provenance)) is not None:
                return images
    return None


def _enough(items: Sequence[LabelledFile], data: Path, hint: str = "") -> Sequence[LabelledFile]:
    if len(items) < LEAST_CALIBRATION_IMAGES:
        raise DataError(
            f"{len(items)} calibration images in {data}; at least {LEAST_CALIBRATION_IMAGES} are "
            f"needed{hint}"
        )
    return items
