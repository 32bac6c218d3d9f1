"""A torch module that is imported, and what its library says about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from service.errors import UsageError
from service.package.manifest import Fit, InputSize, Interpolation, Label, TaskName
from training.imports.given import Given, input_size
from training.imports.labels import labelled, read_labels
from training.imports.modules.own_preprocessing import Preprocess
from training.surgery.wanted import Activation, Triple


@dataclass(frozen=True)
class ModuleSource:
    """A classifier: float32[N, 3, H, W], normalized -> float32[N, K].

    None: the library does not say it, so the user must name it.
    """

    name: str
    """As the user named it: "timm:resnet18"."""
    module: nn.Module
    mean: Triple | None = None
    std: Triple | None = None
    crop_px: int | None = None
    resize_px: int | None = None
    interpolation: Interpolation | None = None
    fit: Fit | None = None
    """How the library resizes photos. None: it does not say, and the package keeps their shape."""
    labels: Sequence[object] | None = None
    """Names, or [id, name] pairs, in the order of the logits."""
    activation: Activation | None = None
    """What the module gives; None: found from the graph."""
    task: TaskName | None = None
    statistics_from: str = "named at the import"
    """Where mean and std come from."""
    architecture: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """For the manifest: the origin of the weights, versions."""
    notes: tuple[str, ...] = ()
    """Where the package differs from the library, a sentence each."""
    own: Preprocess | None = None
    """The library's own preprocessing; the package's view is compared with it."""


@dataclass(frozen=True)
class Complete:
    """All that a package says beside its graph."""

    mean: Triple
    std: Triple
    sizes: InputSize
    statistics_from: str
    photos: tuple[Path, ...]


def with_options(source: ModuleSource, given: Given) -> ModuleSource:
    """`source`, where options of the user take the place of what the library says.

    Raises:
        UsageError: options that do not go with a module.
    """
    if given.layout not in (None, "NCHW"):
        raise UsageError(f"{source.name} takes NCHW: --layout is for ONNX files")
    if given.output is not None:
        raise UsageError(f"{source.name} has one output: --output is for ONNX files")
    if statistics := given.statistics():
        source = replace(
            source,
            mean=statistics[0],
            std=statistics[1],
            statistics_from=given.normalization or "named at the import",
        )
    resize_px = given.resize_px or source.resize_px
    if given.crop_px and not given.resize_px and source.crop_px and source.resize_px:
        # The library's share of the image that a crop shows stays.
        resize_px = round(source.resize_px * given.crop_px / source.crop_px)
    notes = source.notes
    if given.fit and source.fit and given.fit != source.fit:
        notes += (f"{source.name} resizes photos by fit {source.fit}; --fit {given.fit} was named",)
    return replace(
        source,
        crop_px=given.crop_px or source.crop_px,
        resize_px=resize_px,
        interpolation=given.interpolation or source.interpolation,
        fit=given.fit or source.fit,
        notes=notes,
        activation=given.activation or source.activation,
    )


def complete(source: ModuleSource, given: Given) -> Complete:
    """What the package says beside its graph.

    Raises:
        UsageError: values that neither the library nor the user gives; the message lists them.
    """
    missing: list[str] = []
    if source.mean is None or source.std is None:
        missing.append("mean and std of pixels from 0 to 1 (--normalization, or --mean and --std)")
    if source.crop_px is None:
        missing.append("crop_px, the side of the images that the model was made for (--crop-px)")
    if source.resize_px is None:
        missing.append(
            "resize_px, to which a photo is resized before the crop is cut (--resize-px)"
        )
    if source.interpolation is None:
        missing.append("interpolation, bilinear or bicubic (--interpolation)")
    if source.labels is None and given.labels is None:
        missing.append("labels, a name for each class (--labels FILE, or --labels numbers)")
    if missing or not (
        source.mean and source.std and source.crop_px and source.resize_px and source.interpolation
    ):
        raise UsageError(f"{source.name} does not say these values; add them: {'; '.join(missing)}")
    from training.imports.photos import photos_in

    return Complete(
        source.mean,
        source.std,
        input_size(
            source.crop_px,
            source.resize_px,
            source.interpolation,
            given.decode,
            source.fit or "shorter_side",
        ),
        source.statistics_from,
        photos_in(given.photos) if given.photos else (),
    )


def labels_of(source: ModuleSource, given: Given, classes: int) -> tuple[Label, ...]:
    """The labels, from the user's file or else from the library.

    Raises:
        UsageError: another number of labels than classes.
    """
    if given.labels is not None:
        return read_labels(given.labels, classes)
    found = source.labels or ()
    if len(found) != classes:
        raise UsageError(
            f"{source.name} answers for {classes} classes, but has {len(found)} labels: name them "
            "with --labels FILE, or --labels numbers"
        )
    return labelled(list(found))
