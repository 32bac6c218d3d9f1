"""A torch module becomes a converted graph: the first way to export that agrees with the module."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from service.console.text import reason_of
from service.errors import ImportRefused, UsageError
from training.imports import parity
from training.imports.given import Given
from training.imports.modules.exporting import Classifier, Way, classifier, ways
from training.imports.modules.own_preprocessing import difference
from training.imports.modules.source import (
    Complete,
    ModuleSource,
    complete,
    labels_of,
    with_options,
)
from training.imports.spec import ImportSpec
from training.surgery import Converted, Wanted, convert
from training.surgery.probe import smooth_images
from training.surgery.sizes import checked_shapes
from training.surgery.wanted import Channels

LEAST_CELL_PX = 32
VIEW = ("crop_px", "resize_px", "interpolation", "fit", "mean", "std")


class ModuleFunction:
    """uint8[N, H, W, 3] in RGB -> what the module gives, float32[N, K]."""

    def __init__(self, network: Classifier, facts: Complete, channels: Channels) -> None:
        self._network, self._channels = network, channels
        self._mean, self._std = (
            torch.tensor(values, dtype=torch.float64).view(3, 1, 1)
            for values in (facts.mean, facts.std)
        )

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = images[..., ::-1].copy() if self._channels == "BGR" else images
        planes = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).double() / 255
        with torch.inference_mode():
            found = self._network(((planes - self._mean) / self._std).float())
        return found.numpy()


def open_module(source: ModuleSource, given: Given) -> tuple[Converted, ImportSpec]:
    """Export `source`, convert the graph and compare both.

    Ways to export are tried in order. The first whose graph agrees with the module at every size is
    taken; otherwise the first that agrees at the size of a crop.

    Raises:
        UsageError: something that neither the library nor `given` says.
        ImportRefused: no way gives a graph that agrees with the module.
    """
    notes = source.notes
    source, said = with_options(source, given), source
    facts = complete(source, given)
    if said.own and not notes and _preprocesses_alike(said, source):
        apart = difference(said.own, facts.sizes, facts.mean, facts.std)
        source = replace(source, notes=(apart,) if apart else ())
    network = classifier(source.module)
    reference = ModuleFunction(network, facts, given.channels)
    classes = _classes(source, reference, facts.sizes.crop_px)
    labels = labels_of(source, given, classes)
    spec = ImportSpec(
        source=source.name,
        labels=labels,
        sizes=facts.sizes,
        reference=reference,
        normalization_source=facts.statistics_from,
        task=source.task,
        architecture={
            "name": source.architecture or source.name,
            "parameters": sum(one.numel() for one in network.parameters()),
        },
        facts=source.facts,
        photos=facts.photos,
        version=given.version,
    )
    wanted = Wanted(
        facts.mean,
        facts.std,
        crop_px=facts.sizes.crop_px,
        channels=given.channels,
        activation=source.activation,
    )
    too_fixed = _refused_size(reference, facts.sizes.crop_px)
    converted = _best(ways(network, facts.sizes.crop_px, not too_fixed), wanted, spec, too_fixed)
    return replace(converted, notes=(*source.notes, *converted.notes)), spec


def _preprocesses_alike(said: ModuleSource, used: ModuleSource) -> bool:
    """Whether no option of the user changes the view."""
    return all(getattr(said, key) == getattr(used, key) for key in VIEW)


def _classes(source: ModuleSource, reference: ModuleFunction, crop_px: int) -> int:
    try:
        found = reference(smooth_images(2, crop_px, crop_px))
    except Exception as error:  # of the module's own code
        raise ImportRefused(
            f"{source.name} fails on RGB images of {crop_px}×{crop_px} px: {reason_of(error)}"
        ) from error
    if found.ndim != 2 or len(found) != 2 or not found.shape[1]:
        raise ImportRefused(
            f"{source.name} gives {'×'.join(map(str, found.shape))} numbers for 2 images: a "
            "classifier gives one logit for each image and class"
        )
    return found.shape[1]


def _refused_size(reference: ModuleFunction, crop_px: int) -> str:
    """Why the module does not take other sizes than that of a crop; empty if it takes them."""
    for number, height, width in checked_shapes(crop_px, LEAST_CELL_PX):
        try:
            reference(smooth_images(number, height, width))
        except Exception as error:  # of the module's own code
            return f"the source does not take {height}×{width} px: {reason_of(error)}"
    return ""


def _best(attempts: Iterable[Way], wanted: Wanted, spec: ImportSpec, too_fixed: str) -> Converted:
    second: Converted | None = None
    failures: list[str] = []
    for way in attempts:
        if second is not None and not way.any_size:
            break
        try:
            converted = convert(way.export(), wanted)
            if not too_fixed:  # compared at other sizes too, whatever the file declares
                converted = replace(converted, source_sizes="dynamic")
            converted, _ = parity.check(converted, spec)
        except UsageError:
            raise
        except Exception as error:  # of either exporter, or a refusal
            failures.append(f"{way.name}: {reason_of(error)}")
            continue
        note = f"exported by {way.name}"
        if failures:
            note += f", because others failed ({'; '.join(failures)})"
        reason = "; ".join(filter(None, (converted.reason, too_fixed)))
        converted = replace(converted, notes=(*converted.notes, note), reason=reason)
        if converted.sizes == "dynamic" or too_fixed:
            return converted
        failures.append(f"{way.name}: {converted.reason or 'one size only'}")
        second = second or converted
    if second is None:
        raise ImportRefused(f"{spec.source} cannot be exported: {'; '.join(failures)}")
    return second
