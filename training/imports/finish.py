"""Quantize, calibrate and evaluate an imported package on labelled images, all at once."""

from collections.abc import Callable, Sequence
from pathlib import Path

from service.errors import DataError
from service.package.labels import class_ids
from service.package.modes import modes
from service.package.package import ModelPackage
from training.calibration.calibrate import calibrate
from training.data.content.copies import copies_among
from training.data.dataset import LEAST_CALIBRATION_IMAGES, unreadable, validation
from training.data.item import Item
from training.data.stratify import stratified
from training.imports.int8 import add_int8
from training.task import TRAINING_TASKS

SEED = 0
Log = Callable[[str], None]


def labelled_images(folder: Path, data: Path, log: Log = print) -> list[Item]:
    """The labelled images of `data` for the package in `folder`, without those that do not decode.

    `data` is a folder of `<class>/*` or `val/<class>/*`, or a table.

    Raises:
        DataError: no images, or a class that the model does not have.
    """
    manifest = ModelPackage.load(folder).manifest
    found = validation(data, manifest)
    for line in found.lines():
        log(line)
    labels_of = TRAINING_TASKS[manifest.task].labels_of
    class_ids({label for item in found.items for label in labels_of(item)}, manifest)
    broken = unreadable(found.items)
    for path, reason in broken.items():
        log(f"left out {path}: {reason}")
    return [item for item in found.items if item.path not in broken]


def finish(folder: Path, items: Sequence[Item], *, int8: bool = True, log: Log = print) -> None:
    """Add the int8 graph, calibrate on one half of `items` and evaluate on the other half.

    Nothing is measured on images that something was fitted on. With fewer than 100 images, all of
    them calibrate, and nothing is measured.

    Raises:
        DataError: fewer images than a calibration needs.
    """
    task = ModelPackage.load(folder).manifest.task
    if len(items) < LEAST_CALIBRATION_IMAGES:
        raise DataError(
            f"{len(items)} labelled images; at least {LEAST_CALIBRATION_IMAGES} are needed to "
            "calibrate"
        )
    fitting, measured = list(items), list[Item]()
    if len(items) >= 2 * LEAST_CALIBRATION_IMAGES:
        copies = copies_among(item.path for item in items)
        measured, fitting = stratified(items, 0.5, SEED, task, copies)
    if int8:
        add_int8(folder, fitting, log)
    calibrate(folder, fitting, log=log)
    if not measured:
        log(f"calibrated on {len(fitting)} images; too few to measure on others")
        return
    of_task = TRAINING_TASKS[task]
    wanted = [mode for mode in modes(ModelPackage.load(folder).manifest) if mode != "custom"]
    of_task.record(folder, of_task.evaluate(folder, measured, wanted), log)
    log(f"calibrated on {len(fitting)} images, measured on {len(measured)} others")
