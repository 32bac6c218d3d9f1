"""Calibrate the package of a run: on its held-out images, or by cross-fitting if they are few."""

from collections.abc import Callable
from pathlib import Path

from service.errors import DataError, ImportRefused, UsageError
from service.package.package import ModelPackage
from training.calibration.calibrate import calibrate
from training.calibration.images import TOO_SURE, held_out, training_images
from training.cross_fit import networks
from training.data.content.sketch import trained_on
from training.data.dataset import LEAST_CALIBRATION_IMAGES, Split, trained_split
from training.fit import distributed
from training.network.initial_weights import InitialWeights
from training.recipe import Recipe

Log = Callable[[str], None]


def calibrate_package(
    package: Path,
    run: Path,
    data: Path,
    *,
    read_weights: Callable[[], InitialWeights | None],
    workers: int = 0,
    teacher: Path | None = None,
    log: Log = print,
) -> None:
    """Calibrate `package`, which was exported from `run`; `log` gets the reason where it cannot be.

    With fewer than 50 held-out images, the training images are used too. Networks that were trained
    without them answer for them: see `training.cross_fit.networks`.
    """
    loaded = ModelPackage.load(package)
    images = trained_split(data, loaded.manifest.provenance)
    try:
        if images is None or not _cross_fitted(loaded, images):
            items = held_out(loaded, data, log)
            calibrate(package, items, training=training_images(loaded, data), log=log)
            return
        initial = read_weights()
        if initial is None and (began := loaded.manifest.provenance.get("started_from")):
            raise DataError(f"name the weights that it started from: {began['name']} (--init)")
    except (DataError, ImportRefused, UsageError) as error:  # no image, or no weights to start from
        log(f"not calibrated: {error}")
        return
    before = loaded.manifest.provenance.get("started_from") or {}
    if known := trained_on(before, images.paths()):
        log(
            f"warning: the weights that the training started from were trained on {known}: "
            f"{TOO_SURE}"
        )
    folds = networks.fold_packages(
        run,
        images,
        data,
        initial=initial,
        int8="int8" in loaded.precisions,
        workers=workers,
        teacher=teacher,
        log=log,
    )
    calibrate(package, images.calibration, folds=folds, log=log)
    networks.remove(run)
    log(
        f"calibrated on {len(images)} images by cross-fitting: {len(folds)} other networks "
        "answered for images that they were not trained on. They had fewer images to learn from "
        "than the package. So its confidence may be a little too low, and its prediction sets a "
        "little too large"
    )


def _cross_fitted(package: ModelPackage, images: Split) -> bool:
    """Whether the held-out images are too few, and those of the training are enough."""
    recipe = Recipe.from_json(package.manifest.provenance["recipe"])
    few = len(images.calibration) < LEAST_CALIBRATION_IMAGES <= len(images)
    return few and recipe.calibration_folds > 0 and distributed.processes() == 1
