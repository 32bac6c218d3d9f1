"""`quincunx.export_module` and `quincunx.export_learner`: a model in memory becomes a package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from service.errors import UsageError
from service.package.manifest import Fit, Interpolation, TaskName
from service.package.package import ModelPackage
from training.imports.given import Given
from training.imports.modules.opening import open_module
from training.imports.modules.source import ModuleSource
from training.imports.package import write
from training.surgery.wanted import Activation, Triple

if TYPE_CHECKING:
    from fastai.learner import Learner
    from torch import nn

Log = Callable[[str], None]


def export_module(
    module: nn.Module,
    folder: str | Path,
    *,
    labels: Sequence[str] | Sequence[tuple[str, str]],
    mean: Sequence[float],
    std: Sequence[float],
    crop_px: int,
    resize_px: int,
    interpolation: Interpolation = "bilinear",
    fit: Fit = "shorter_side",
    data: str | Path | None = None,
    task: TaskName | None = None,
    activation: Activation | None = None,
    version: str = "1",
    overwrite: bool = False,
    log: Log = print,
) -> ModelPackage:
    """Write any torch classifier as a model package.

    `module` takes float32[N, 3, H, W] in RGB and gives float32[N, K]: logits, or probabilities if
    it ends in a softmax or sigmoid. `module` itself is not changed. The package is compared with it
    at several sizes, and refused if it differs.

    Args:
        labels: Names, or (id, name) pairs, in the order of the logits.
        mean, std: Of each channel, in units of 0..1.
        crop_px: Side of the images that the model was made for.
        resize_px: The side of a photo before the crop is cut.
        fit: shorter_side: the photo keeps its shape, and `resize_px` is its shorter side. squash:
            both sides become `resize_px`. Use the one that the module was trained with.
        data: Labelled images that the model was not trained on, FOLDER/<class>/*. The package is
            quantized and calibrated on one half, and measured on the other half.
        task: By default multi_label if the module ends in a sigmoid, else single_label.
        activation: What the module gives; by default found from its last operators.

    Raises:
        UsageError: values that do not go together, or `folder` holds something else.
        ImportRefused: the module cannot become a package.
        DataError: images in `data` that cannot be used.
    """
    source = ModuleSource(
        name=f"torch:{type(module).__name__}",
        module=module,
        mean=_triple(mean, "mean"),
        std=_triple(std, "std"),
        crop_px=crop_px,
        resize_px=resize_px,
        interpolation=interpolation,
        fit=fit,
        labels=list(labels),
        activation=activation,
        task=task,
        architecture=type(module).__name__,
    )
    folder = Path(folder)
    _write(source, Given(version=version), folder, overwrite, log)
    if data is not None:
        from training.data.named_data import located
        from training.imports.finish import finish, labelled_images

        finish(folder, labelled_images(folder, located(Path(data)), log), log=log)
    return ModelPackage.load(folder)


def export_learner(
    learn: Learner,
    folder: str | Path,
    *,
    crop_px: int | None = None,
    resize_px: int | None = None,
    interpolation: Interpolation | None = None,
    fit: Fit | None = None,
    data: str | Path | Literal["validation"] | None = None,
    version: str = "1",
    overwrite: bool = False,
    log: Log = print,
) -> ModelPackage:
    """Write a fastai Learner of a vision DataBlock as a model package.

    Classes, normalization, sizes, interpolation and fit are read from `learn.dls`: its vocabulary,
    Normalize, Resize, RandomResizedCrop and the size of aug_transforms. Single-label and
    multi-label both work. Values that are named here take the place of those of the Learner.

    Args:
        data: Labelled images that the model was not trained on, FOLDER/<class>/*. The package is
            quantized and calibrated on one half, and measured on the other half. "validation": the
            Learner's validation set. Where that was used to choose the model, the figures are too
            good.

    Raises:
        UsageError: sizes that the Learner does not say, or `folder` holds something else.
        ImportRefused: the model cannot become a package.
        DataError: images in `data` that cannot be used.
    """
    from training.imports.learners.reading import read

    folder = Path(folder)
    given = Given(
        crop_px=crop_px, resize_px=resize_px, interpolation=interpolation, fit=fit, version=version
    )
    _write(read(learn), given, folder, overwrite, log)
    if data is not None:
        from training.data.named_data import located
        from training.imports.finish import finish, labelled_images

        if data == "validation":
            from training.imports.learners.validation_set import validation_items

            log(
                "calibrating and measuring on the Learner's validation set: if it was used to "
                "choose the model or the epoch, the figures are too good"
            )
            items = validation_items(learn)
        else:
            items = labelled_images(folder, located(Path(data)), log)
        finish(folder, items, log=log)
    return ModelPackage.load(folder)


def _write(source: ModuleSource, given: Given, folder: Path, overwrite: bool, log: Log) -> None:
    from training.export.writer import check_replaceable, check_version

    check_replaceable(folder, overwrite=overwrite)  # before the work
    check_version(given.version)
    converted, spec = open_module(source, given)
    write(converted, spec, folder, overwrite=overwrite, log=log)


def _triple(values: Sequence[float], name: str) -> Triple:
    numbers = [float(value) for value in values]
    if len(numbers) != 3:
        raise UsageError(f"{name} must be 3 numbers in units of 0..1, but has {len(numbers)}")
    return numbers[0], numbers[1], numbers[2]
