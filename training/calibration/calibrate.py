"""Fit a package's confidence, view weights, gate and prediction sets on the calibration split.

The split was held out of training and is not part of the validation set. So nothing is fitted on
the images of later validation reports. Each image and its mirror image run once through every pass
that any mode needs. The modes are then computed from the stored logits with the functions that
serve.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from service.errors import DataError
from service.inference.tta.aggregate import aggregate_mode, softmax, temper
from service.package.manifest import Manifest, Mode, ModeCalibration, Precision
from service.package.package import ModelPackage
from training.calibration import adaptive, fitting, gates
from training.calibration.calibration_logits import CalibrationLogits, collect_logits
from training.calibration.gates import Tolerance
from training.data.dataset import LEAST_CALIBRATION_IMAGES, trained_split
from training.evaluation.metrics import Probabilities, nll
from training.evaluation.predictions import LabelledFile
from training.export.writer import write_manifest
from training.task import TRAINING_TASKS

DEFAULTS: tuple[Mode, ...] = ("none", "five_crop", "dense")


def held_out(
    package: ModelPackage, data: Path, log: Callable[[str], None] = lambda _: None
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
    for line in images.lines():
        log(line)
    if len(images.calibration) < LEAST_CALIBRATION_IMAGES:
        raise DataError(
            f"{len(images.calibration)} calibration images; at least {LEAST_CALIBRATION_IMAGES} "
            "are needed (calibration_share in the recipe)"
        )
    return images.calibration


def calibrate(
    folder: Path,
    items: Sequence[LabelledFile],
    *,
    tolerance: Tolerance | None = None,
    budgets: Mapping[Precision, float] | None = None,
    default_mode: Mode | None = None,
    log: Callable[[str], None] = print,
) -> Manifest:
    """Fit every precision of the package in `folder` on `items` and write its manifest.

    The first pass of `adaptive` is chosen on the most quantized graph (the one that is served on a
    CPU). The other graphs use the same first pass, each with its own gate: the cheapest within
    `tolerance` of the best second pass. If `budgets` has a mean cost in single crops, it is instead
    the gate within that cost that agrees most often with exact five crops: see `adaptive.best`.

    `default_mode` is the mode of requests that choose none. None picks the cheapest mode that is
    about as good as the best.

    Raises:
        DataError: a class that the model does not have, or no readable image.
    """
    task = TRAINING_TASKS[ModelPackage.load(folder).manifest.task]
    return task.calibrate(folder, items, tolerance, budgets, default_mode, log)


def calibrate_single_label(
    folder: Path,
    items: Sequence[LabelledFile],
    tolerance: Tolerance | None,
    budgets: Mapping[Precision, float] | None,
    default_mode: Mode | None,
    log: Callable[[str], None],
) -> Manifest:
    """`calibrate` for a package whose images have one true class."""
    tolerance, budgets = tolerance or Tolerance(), budgets or {}
    package = ModelPackage.load(folder)
    firsts = adaptive.candidates(package.manifest.input)
    logits: dict[Precision, CalibrationLogits] = {
        precision: collect_logits(folder, precision, items, firsts)
        for precision in package.precisions
    }
    for path, reason in next(iter(logits.values())).unreadable.items():
        log(f"skipped {path}: {reason}")
    fitted: dict[Precision, dict[Mode, ModeCalibration]] = {
        p: {mode: _plain(p, mode, m) for mode in m.views} for p, m in logits.items()
    }
    leading: Precision = "int8" if "int8" in logits else package.precisions[0]
    configs = adaptive.pairs(firsts, package.manifest.input, budgets.get(leading))
    tried: dict[tuple[Precision, int], adaptive.Fitted] = {
        (p, i): adaptive.fit(p, m, config, fitted[p], tolerance, budgets.get(p))
        for p, m in logits.items()
        for i, config in enumerate(configs)
    }
    led = [tried[leading, i] for i in range(len(configs))]
    chosen = adaptive.best(led, tolerance, budgets.get(leading))
    for (precision, index), one in tried.items():
        mark = "*" if index == chosen else " "
        log(f"{mark} {precision} {adaptive.describe(configs[index])}: {one.text}")
        if index == chosen:
            fitted[precision]["adaptive"] = one.entry
    manifest = package.manifest.model_copy(
        update={
            "calibration": tuple(e for modes in fitted.values() for e in modes.values()),
            "adaptive": configs[chosen],
            "default_mode": default_mode
            or _default_mode(fitted[leading], logits[leading], tried[leading, chosen], tolerance),
        }
    )
    write_manifest(folder, Manifest.model_validate(manifest.model_dump()))
    return manifest


def _plain(precision: Precision, mode: Mode, logits: CalibrationLogits) -> ModeCalibration:
    views, labels = logits.views[mode], logits.labels
    raw = aggregate_mode(views, "mean", ModeCalibration(precision=precision, mode=mode))
    temperature = fitting.temperature(raw, labels)
    several = views.shape[1] > 1
    return ModeCalibration(
        precision=precision,
        mode=mode,
        temperature=round(temperature, 6),
        view_weights=fitting.view_weights(softmax(views), labels) if several else None,
        conformal=logits.quantiles(temper(raw, temperature)),
    )


def _default_mode(
    fitted: dict[Mode, ModeCalibration],
    logits: CalibrationLogits,
    tried: adaptive.Fitted,
    tolerance: Tolerance,
) -> Mode:
    """The cheapest mode whose answers are about as good as the best mode's."""
    answers: dict[Mode, Probabilities] = {
        mode: adaptive.tempered(logits, mode, fitted) for mode in DEFAULTS
    }
    answers["adaptive"] = tried.probabilities
    costs = {**logits.costs, "adaptive": tried.gate.expected_cost}
    best = min(answers.values(), key=lambda p: nll(p, logits.labels))
    good: list[Mode] = [
        mode
        for mode, probabilities in answers.items()
        if gates.good_enough(probabilities, best, logits.labels, tolerance)
    ]
    return min(good, key=lambda mode: costs[mode]) if good else "five_crop"
