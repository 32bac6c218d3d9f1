"""Fit a package's confidence, view weights, gate and prediction sets on the calibration split.

The split was held out of training and is not part of the validation set. So nothing is fitted on
the images of later validation reports. Each image and its mirror image run once through every pass
that any mode needs. The modes are then computed from the stored logits with the functions that
serve.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from service.errors import UsageError
from service.inference.tta.task import TASKS
from service.inference.unknown import NONE_FOR_SEVERAL_LABELS
from service.package.manifest import Manifest, Mode, Precision
from service.package.package import ModelPackage
from training.calibration import adaptive, gates, plain, tempering, unknown
from training.calibration.calibration_logits import CalibrationLogits, collect_logits
from training.calibration.configurations import describe, first_passes, pairs
from training.calibration.plain import FittedMode
from training.calibration.tolerance import Tolerance
from training.cross_fit.fold import Fold, with_calibration
from training.evaluation.metrics import losses
from training.evaluation.predictions import LabelledFile
from training.export.change import write_change
from training.task import TRAINING_TASKS

DEFAULTS: set[Mode] = {"dense", "centre_dense", "five_crop"}
"""Modes that may become the default instead of `adaptive` or `none`."""


def calibrate(
    folder: Path,
    items: Sequence[LabelledFile],
    *,
    training: Sequence[LabelledFile] = (),
    tolerance: Tolerance | None = None,
    budgets: Mapping[Precision, float] | None = None,
    default_mode: Mode | None = None,
    folds: Sequence[Fold] = (),
    log: Callable[[str], None] = print,
) -> Manifest:
    """Fit every precision of the package in `folder` on `items` and write its manifest.

    `training` are the images that the network was trained on. The unknown score is fitted on some
    of them; without them, on `items`: see `training.calibration.unknown`.

    `adaptive` runs the served crop first. Its second pass is chosen on the most quantized graph
    (the one that is served on a CPU). The other graphs use the same second pass, each with its own
    gate: see `gates.choose`. If `budgets` has a mean cost in single crops for the most quantized
    graph, cheaper first passes are tried too, and the gate is the one within that cost that agrees
    most often with exact five crops: see `adaptive.best`.

    `default_mode` is the mode of requests that name no mode. If it is None, `_default_mode`
    chooses it.

    `folds` are packages of networks that were trained without some images, each with these images.
    Their answers are used as if the package had given them (cross-fitting).

    Raises:
        DataError: a class that the model does not have, or no readable image.
    """
    task = TRAINING_TASKS[ModelPackage.load(folder).manifest.task]
    own = [Fold(folder, items)] if items or not folds else []
    sources = [*own, *folds]
    return task.calibrate(folder, sources, training, tolerance, budgets, default_mode, log)


def calibrate_single_label(
    folder: Path,
    sources: Sequence[Fold],
    training: Sequence[LabelledFile],
    tolerance: Tolerance | None,
    budgets: Mapping[Precision, float] | None,
    default_mode: Mode | None,
    log: Callable[[str], None],
) -> Manifest:
    """`calibrate` for a package whose images have one true class."""
    tolerance, budgets = tolerance or Tolerance(), budgets or {}
    package = ModelPackage.load(folder)
    leading = _leading(package)
    cheaper = leading in budgets
    firsts = first_passes(package.manifest, cheaper=cheaper)
    logits: dict[Precision, CalibrationLogits] = {
        precision: CalibrationLogits.joined(
            [collect_logits(fold.package, precision, fold.items, firsts) for fold in sources]
        )
        for precision in package.precisions
    }
    for path, reason in next(iter(logits.values())).unreadable.items():
        log(f"skipped {path}: {reason}")
    folds = tempering.deal(logits[leading].labels)
    fitted: dict[Precision, dict[Mode, FittedMode]] = {
        p: {mode: plain.fit(p, mode, own, folds) for mode in own.views} for p, own in logits.items()
    }
    configs = pairs(firsts, package.manifest.input, fitted[leading], cheaper=cheaper)
    tried: dict[tuple[Precision, int], adaptive.Fitted] = {
        (p, i): adaptive.fit(p, own, config, fitted[p], folds, tolerance, budgets.get(p))
        for p, own in logits.items()
        for i, config in enumerate(configs)
    }
    led = [tried[leading, i] for i in range(len(configs))]
    chosen = adaptive.best(led, tolerance, budgets.get(leading))
    for (precision, index), one in tried.items():
        mark = "chosen" if index == chosen else "tried "
        log(f"{mark} {precision} {describe(configs[index])}: {one.text}")
    entries = [
        entry
        for p, modes in fitted.items()
        for entry in (*(mode.entry for mode in modes.values()), tried[p, chosen].entry)
    ]
    manifest = package.manifest.model_copy(
        update={
            "unknown": None,
            "calibration": tuple(entries),
            "provenance": with_calibration(package.manifest, sources),
            "adaptive": configs[chosen],
            "default_mode": default_mode
            or _default_mode(
                fitted[leading], logits[leading], led[chosen], tolerance, cheaper=cheaper
            ),
        }
    )
    if len(sources) > 1:
        log(
            "no unknown score: other networks answered the images, so its error rate would be "
            "wrong. With 50 other images, quincunx calibrate PACKAGE FOLDER fits everything on them"
        )
        without = unknown.FittedUnknown(unknown.without_scores(manifest, logits), b"")
        return _write(package, without, log)
    return _write(package, unknown.fit(folder, manifest, logits, leading, training, log), log)


def calibrate_unknown(
    folder: Path,
    items: Sequence[LabelledFile],
    *,
    training: Sequence[LabelledFile] = (),
    log: Callable[[str], None] = print,
) -> Manifest:
    """Fit the unknown score alone, and what drift compares with; all other values stay.

    Raises:
        UsageError: a multi-label package, or one that was not calibrated.
        DataError: a class that the model does not have, or no readable image.
    """
    package = ModelPackage.load(folder)
    manifest = package.manifest
    if not TASKS[manifest.task].one_is_true:
        raise UsageError(f"{manifest.name} {NONE_FOR_SEVERAL_LABELS}")
    if not manifest.calibration:
        raise UsageError(
            f"{manifest.name} was not calibrated: run quincunx calibrate without --only-unknown"
        )
    firsts = [manifest.adaptive.model_copy(update={"second": "dense"})] if manifest.adaptive else []
    wanted = {entry.precision for entry in manifest.calibration}
    logits: dict[Precision, CalibrationLogits] = {
        precision: collect_logits(folder, precision, items, firsts)
        for precision in package.precisions
        if precision in wanted
    }
    leading = _leading(package)
    return _write(package, unknown.fit(folder, manifest, logits, leading, training, log), log)


def _leading(package: ModelPackage) -> Precision:
    """The precision that is served on a CPU, on which common choices are made."""
    return "int8" if "int8" in package.precisions else package.precisions[0]


def _write(
    package: ModelPackage, fitted: unknown.FittedUnknown, log: Callable[[str], None]
) -> Manifest:
    """A reader sees the old manifest with its file, or the new one with its own."""
    manifest = write_change(package, fitted.manifest, log, files=fitted.files())
    fitted.remove_others(package.folder)
    return manifest


def _default_mode(
    fitted: Mapping[Mode, FittedMode],
    logits: CalibrationLogits,
    tried: adaptive.Fitted,
    tolerance: Tolerance,
    *,
    cheaper: bool,
) -> Mode:
    """`adaptive`, or a mode that costs more and whose gain in likelihood is certain.

    It is `none` if the gate of `adaptive` never opens, or if cheaper passes were asked for and
    their answers are worse than those of `none`.
    """
    labels, single = logits.labels, fitted["none"].crossed
    mode, answers, cost = "none", single, logits.costs["none"]
    opens = tried.gate.expected_cost != cost
    if opens and (not cheaper or gates.good_enough(tried.crossed, single, labels, tolerance)):
        mode, answers, cost = "adaptive", tried.crossed, tried.gate.expected_cost
    for dearer in sorted(DEFAULTS & fitted.keys(), key=lambda one: logits.costs[one]):
        gain = losses(answers, labels) - losses(fitted[dearer].crossed, labels)
        if logits.costs[dearer] > cost and gates.bounds(gain)[0] > tolerance.nll:
            mode, answers, cost = dearer, fitted[dearer].crossed, logits.costs[dearer]
    return mode
