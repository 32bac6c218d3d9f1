"""Every pass that any mode needs, run once over the calibration split."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from service.inference.image.geometry import Size
from service.inference.image.views import AnyImage, mirrored, size_of
from service.inference.predictor import Predictor
from service.inference.tta.aggregate import all_views
from service.inference.tta.conformal import COVERAGES, key, quantile
from service.inference.tta.evidence import Evidence, stacked
from service.inference.tta.passes import PassOutputs, StepsOf, read_passes
from service.inference.tta.planner import Pass, Planner
from service.package.manifest import (
    Adaptive,
    Graph,
    InputSize,
    Manifest,
    Mode,
    ModeCalibration,
    Precision,
    SecondMode,
)
from service.package.modes import why_not
from training.evaluation.metrics import Labels, Probabilities
from training.evaluation.predictions import LabelledFile, collect, label_index

PLAIN_MODES: tuple[Mode, ...] = ("none", "five_crop", "ten_crop", "dense", "centre_dense")
SECONDS: tuple[SecondMode, ...] = get_args(SecondMode)
"""Modes that may be the second pass of `adaptive`."""
AUGMENTED: tuple[SecondMode, ...] = ("dense", "five_crop")
"""Second passes with several windows or crops."""


def plain_modes(manifest: Manifest) -> tuple[Mode, ...]:
    """The plain modes that the package can answer."""
    return tuple(mode for mode in PLAIN_MODES if not why_not(manifest, mode))


@dataclass(frozen=True)
class FirstPass:
    """A candidate for the cheap pass of `adaptive`."""

    config: Adaptive
    logits: NDArray[np.float64]
    cost: float
    rest: dict[Mode, float]
    """The cost of each second pass that follows it."""
    evidence: Evidence | None = None
    """As `CalibrationLogits.evidence`."""


@dataclass(frozen=True)
class CalibrationLogits:
    """Logits of every view of every mode: float64[N, V, K] per mode.

    The first half of N are the images, the second half their mirror images. So fitting has twice as
    many examples. A network that was trained on mirror images answers them differently.
    """

    labels: Labels
    views: dict[Mode, NDArray[np.float64]]
    costs: dict[Mode, float]
    first_passes: tuple[FirstPass, ...]
    unreadable: dict[Path, str] = field(default_factory=dict)
    """The images that can no longer be decoded, each with its reason."""
    evidence: dict[Mode, Evidence] = field(default_factory=dict[Mode, Evidence])
    """Embeddings and mean logits of each mode, without those of mirror images: float32[N / 2, C]
    and float32[N / 2, K]. Empty if the graph has no embedding."""

    @property
    def images(self) -> int:
        """How many images there are, without their mirror images."""
        return len(self.labels) // 2

    def first_pass(self, config: Adaptive) -> FirstPass:
        """The first pass of `config`; its second pass does not matter."""
        wanted = config.model_copy(update={"second": "dense"})
        return next(one for one in self.first_passes if one.config == wanted)

    @classmethod
    def joined(cls, parts: Sequence["CalibrationLogits"]) -> "CalibrationLogits":
        """The logits of several networks, each for other images, as if one network gave them.

        Several networks have no embeddings: an unknown score that was fitted on them would have a
        wrong error rate (docs/unknown.md).
        """
        first = parts[0]
        if len(parts) == 1:
            return first
        return cls(
            labels=_both_halves([part.labels for part in parts]),
            views={
                mode: _both_halves([part.views[mode] for part in parts]) for mode in first.views
            },
            costs=first.costs,
            first_passes=tuple(
                replace(
                    one,
                    logits=_both_halves([part.first_passes[i].logits for part in parts]),
                    evidence=None,
                )
                for i, one in enumerate(first.first_passes)
            ),
            unreadable={path: why for part in parts for path, why in part.unreadable.items()},
        )

    def quantiles(self, probabilities: Probabilities) -> dict[str, float]:
        """Conformal quantiles for float64[N, K], from the unmirrored images only.

        Coverage is promised for independent examples, and a mirror image is not independent.
        """
        true = probabilities[np.arange(self.images), self.labels[: self.images]]
        return {key(c): round(quantile(true, c), 8) for c in COVERAGES}


def _both_halves(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Arrays of images and then their mirror images, joined in the same order."""
    halves = [np.split(array, 2) for array in arrays]
    return np.concatenate([half[side] for side in (0, 1) for half in halves])


def collect_logits(
    folder: Path,
    precision: Precision,
    items: Sequence[LabelledFile],
    firsts: Sequence[Adaptive],
) -> CalibrationLogits:
    """Run every pass of every mode and of every candidate in `firsts` once over `items`.

    Raises:
        DataError: a class that the model does not have, or no readable image.
    """
    predictor = Predictor.from_package(folder, precision=precision, provider="cpu")
    manifest = predictor.manifest
    index = label_index(items, manifest)
    planner = Planner(manifest.input, graph=manifest.graph)
    planners = [Planner(manifest.input, config, manifest.graph) for config in firsts]
    modes, embeds = plain_modes(manifest), predictor.model.embeds

    def passes(size: Size) -> dict[Mode | int, tuple[Pass, ...]]:
        plain: dict[Mode | int, tuple[Pass, ...]] = {
            mode: planner.passes(mode, size) for mode in modes
        }
        own = {i: one.plan("adaptive", size).first for i, one in enumerate(planners)}
        return plain | own

    def start(pixels: AnyImage) -> list[StepsOf[PassOutputs]]:
        mirror = mirrored(pixels)
        return [
            read_passes(image, own, embedding=embeds)
            for image in (pixels, mirror)
            for own in passes(size_of(image)).values()
        ]

    kept, reads, unreadable = collect(predictor, items, start, f"calibrating {precision}")
    square = Size(manifest.input.resize_px, manifest.input.resize_px)
    plans = passes(square)
    costs = {wanted: planner.cost(own) for wanted, own in plans.items()}
    logits: dict[Mode | int, NDArray[np.float64]] = {}
    evidence: dict[Mode | int, Evidence] = {}
    for position, wanted in enumerate(plans):
        if embeds:
            fitted = ModeCalibration(
                precision=precision, mode=wanted if isinstance(wanted, str) else "adaptive"
            )
            evidence[wanted] = _evidence([row[position] for row in reads], fitted)
        both = [row[at] for at in (position, position + len(plans)) for row in reads]
        views = [all_views(r.logits, wanted) if isinstance(wanted, str) else r.logits for r in both]
        logits[wanted] = np.stack(views).astype(np.float64)
    return CalibrationLogits(
        labels=np.array([index[item.label] for item in kept] * 2),
        views={mode: logits[mode] for mode in modes},
        costs={mode: costs[mode] for mode in modes},
        first_passes=tuple(
            FirstPass(
                config,
                logits[i][:, 0],
                costs[i],
                _rest(manifest.input, config, manifest.graph),
                evidence.get(i),
            )
            for i, config in enumerate(firsts)
        ),
        unreadable=unreadable,
        evidence={mode: evidence[mode] for mode in modes if embeds},
    )


def _evidence(reads: Sequence[PassOutputs], fitted: ModeCalibration) -> Evidence:
    """Stored as float32: it is the largest part of what is kept of an image."""
    found = stacked([one for read in reads if (one := Evidence.of(read, fitted)) is not None])
    return Evidence(found.embedding.astype(np.float32), found.logits.astype(np.float32))


def _rest(sizes: InputSize, first: Adaptive, graph: Graph) -> dict[Mode, float]:
    square, costs = Size(sizes.resize_px, sizes.resize_px), dict[Mode, float]()
    for second in SECONDS:
        planner = Planner(sizes, first.model_copy(update={"second": second}), graph)
        costs[second] = planner.cost(planner.plan("adaptive", square).rest)
    return costs
