"""Fit a package's confidence, view weights, gate and prediction sets on the calibration split.

The split was held out of training and is no part of the validation set, so what is reported on
validation later was not fitted there. Each image runs once through every pass that any mode needs;
the modes are then worked out from the stored logits with the functions that serve.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.errors import DataError
from service.inference.aggregate import aggregate, softmax, temper
from service.inference.conformal import COVERAGES, key, quantile
from service.inference.gate import gate_value
from service.inference.geometry import Size
from service.inference.manifest import (
    STRIDE_PX,
    Adaptive,
    Gate,
    InputSize,
    Manifest,
    Mode,
    ModeCalibration,
    Precision,
)
from service.inference.package import ModelPackage
from service.inference.planner import Pass, Planner
from service.inference.predictor import Predictor
from service.inference.tta import read_passes
from service.inference.views import Pixels, size_of
from training import fitting, gates
from training.dataset import readable, split
from training.gates import Tolerance
from training.metrics import Labels, Probabilities, nll
from training.outcomes import LabelledFile, collect, label_index
from training.package import write_manifest
from training.recipe import Recipe

PLAIN_MODES: tuple[Mode, ...] = ("none", "five_crop", "ten_crop", "dense")
SECONDS: tuple[Literal["dense", "five_crop"], ...] = ("dense", "five_crop")
DEFAULTS: tuple[Mode, ...] = ("none", "five_crop", "dense")
LEAST_IMAGES = 50


@dataclass(frozen=True)
class FirstPass:
    """A candidate for the cheap pass of `adaptive`, measured on the calibration split."""

    config: Adaptive
    logits: NDArray[np.float64]
    cost: float


@dataclass(frozen=True)
class Measured:
    """Logits of every view of every mode for N calibration images: float64[N, V, K] per mode."""

    labels: Labels
    views: dict[Mode, NDArray[np.float64]]
    costs: dict[Mode, float]
    first_passes: tuple[FirstPass, ...]


def held_out(package: ModelPackage, data: Path) -> Sequence[LabelledFile]:
    """The calibration split of the data set that the package was trained on.

    Raises:
        DataError: the data is not what the package was trained on, or its split is too small.
    """
    provenance = package.manifest.provenance
    images = split(data, Recipe.from_json(provenance["recipe"]))
    if images.fingerprint() != provenance["dataset"]["fingerprint"]:
        images = readable(images, lambda _: None)  # training left unreadable files out
    if images.fingerprint() != provenance["dataset"]["fingerprint"]:
        raise DataError(
            f"{data} is not the data set that {package.manifest.name} was trained on: "
            "its calibration images may have been trained on"
        )
    if len(images.calibration) < LEAST_IMAGES:
        raise DataError(
            f"{len(images.calibration)} calibration images; at least {LEAST_IMAGES} are needed "
            "(calibration_share in the recipe)"
        )
    return images.calibration


def calibrate(
    folder: Path,
    items: Sequence[LabelledFile],
    *,
    tolerance: Tolerance | None = None,
    default_mode: Mode | None = None,
    say: Callable[[str], None] = print,
) -> Manifest:
    """Fit every precision of the package in `folder` on `items` and write its manifest.

    The first pass of `adaptive` is picked on the most quantized graph (the one that is served on a
    CPU) and shared by the others, each with a gate of its own. `default_mode` names the mode that
    requests get unless they choose; None picks the cheapest that keeps up.

    Raises:
        DataError: a class that the model does not have, or no readable image.
    """
    tolerance = tolerance or Tolerance()
    package = ModelPackage.load(folder)
    measured: dict[Precision, Measured] = {
        precision: measure(folder, precision, items) for precision in package.precisions
    }
    fitted: dict[Precision, dict[Mode, ModeCalibration]] = {
        p: {mode: _plain(p, mode, m) for mode in PLAIN_MODES} for p, m in measured.items()
    }
    leading: Precision = "int8" if "int8" in measured else package.precisions[0]
    configs = [
        first.config.model_copy(update={"second": second})
        for first in measured[leading].first_passes
        for second in SECONDS
    ]
    tried: dict[tuple[Precision, int], _Tried] = {
        (p, i): _adaptive(p, m, configs[i], i // len(SECONDS), fitted[p], tolerance)
        for p, m in measured.items()
        for i in range(len(configs))
    }
    chosen = min(range(len(configs)), key=lambda i: tried[leading, i].rank)
    for (precision, index), one in tried.items():
        mark = "*" if index == chosen else " "
        say(f"{mark} {precision} {describe(configs[index])}: {one.text}")
        if index == chosen:
            fitted[precision]["adaptive"] = one.entry
    manifest = package.manifest.model_copy(
        update={
            "calibration": tuple(e for modes in fitted.values() for e in modes.values()),
            "adaptive": configs[chosen],
            "default_mode": default_mode
            or _default_mode(fitted[leading], measured[leading], tried[leading, chosen], tolerance),
        }
    )
    write_manifest(folder, Manifest.model_validate(manifest.model_dump()))
    return manifest


def describe(config: Adaptive) -> str:
    """Both passes in words."""
    first = f"whole image at {config.first_px} px"
    if config.first_crop_px:
        first = f"centre {config.first_crop_px} px of {config.first_px}"
    return f"{first}, then {config.second}"


def candidates(sizes: InputSize) -> list[Adaptive]:
    """First passes worth trying: whole images and centre crops, up to the price of one crop."""
    sides = range(2 * STRIDE_PX, sizes.crop_px + 1, STRIDE_PX)
    whole = [Adaptive(first_px=side) for side in sides]
    crops = [Adaptive(first_px=side + STRIDE_PX, first_crop_px=side) for side in sides]
    served = Adaptive(first_px=sizes.resize_px, first_crop_px=sizes.crop_px)
    return list({c.model_dump_json(): c for c in (*whole, *crops, served)}.values())


def measure(folder: Path, precision: Precision, items: Sequence[LabelledFile]) -> Measured:
    """Run every pass of every mode and candidate once over `items`."""
    predictor = Predictor.from_package(folder, precision=precision, provider="cpu")
    manifest = predictor.manifest
    index = label_index(items, manifest)
    configs = candidates(manifest.input)
    planners = [Planner(manifest.input, config) for config in configs]

    def passes(size: Size) -> dict[Mode | int, tuple[Pass, ...]]:
        plain: dict[Mode | int, tuple[Pass, ...]] = {
            mode: planners[0].passes(mode, size) for mode in PLAIN_MODES
        }
        firsts = {i: planner.plan("adaptive", size).first for i, planner in enumerate(planners)}
        return plain | firsts

    def start(pixels: Pixels):
        return [read_passes(pixels, own) for own in passes(size_of(pixels)).values()]

    kept, reads, _ = collect(predictor, items, start, f"calibrating {precision}")
    keys = list(passes(Size(256, 256)))
    logits = {
        k: np.stack([own[i].logits for own in reads]).astype(np.float64) for i, k in enumerate(keys)
    }
    square = Size(manifest.input.resize_px, manifest.input.resize_px)
    costs = {k: planners[0].cost(own) for k, own in passes(square).items()}
    return Measured(
        labels=np.array([index[item.label] for item in kept]),
        views={mode: logits[mode] for mode in PLAIN_MODES},
        costs={mode: costs[mode] for mode in PLAIN_MODES},
        first_passes=tuple(
            FirstPass(config, logits[i][:, 0], costs[i]) for i, config in enumerate(configs)
        ),
    )


def _plain(precision: Precision, mode: Mode, measured: Measured) -> ModeCalibration:
    views, labels = measured.views[mode], measured.labels
    raw = aggregate(views, "mean")
    temperature = fitting.temperature(raw, labels)
    several = views.shape[1] > 1
    return ModeCalibration(
        precision=precision,
        mode=mode,
        temperature=round(temperature, 6),
        view_weights=fitting.view_weights(softmax(views), labels) if several else None,
        conformal=_quantiles(temper(raw, temperature), labels),
    )


@dataclass(frozen=True)
class _Tried:
    """One way of doing `adaptive`: what was fitted, its answers, and how it ranks."""

    entry: ModeCalibration
    gate: Gate
    good: bool
    probabilities: Probabilities
    nll: float

    @property
    def rank(self) -> tuple[bool, float, float]:
        return not self.good, self.gate.expected_cost, self.nll

    @property
    def text(self) -> str:
        verdict = "" if self.good else ", not as good as the best second pass"
        return f"gate on {self.gate.kind}, {self.gate.expected_cost:.3f} crops expected{verdict}"


def _adaptive(
    precision: Precision,
    measured: Measured,
    config: Adaptive,
    index: int,
    fitted: dict[Mode, ModeCalibration],
    tolerance: Tolerance,
) -> _Tried:
    """Fit `adaptive` with the first pass `index` and the second pass of `config`."""
    first, labels = measured.first_passes[index], measured.labels
    raw = softmax(first.logits)
    temperature = fitting.temperature(raw, labels)
    seconds = {mode: _tempered(measured, mode, fitted) for mode in SECONDS}
    passes = gates.Passes(
        first_logits=first.logits,
        first=temper(raw, temperature),
        second=seconds[config.second],
        first_cost=first.cost,
        second_cost=measured.costs[config.second],
        reference=min(seconds.values(), key=lambda answers: nll(answers, labels)),
    )
    choice = gates.choose(passes, labels, tolerance)
    mixed = _mixed(passes, choice.gate)
    entry = ModeCalibration(
        precision=precision,
        mode="adaptive",
        temperature=round(temperature, 6),
        conformal=_quantiles(mixed, labels),
        gate=choice.gate,
        gate_curve=choice.curve,
    )
    return _Tried(entry, choice.gate, choice.good, mixed, nll(mixed, labels))


def _tempered(measured: Measured, mode: Mode, fitted: dict[Mode, ModeCalibration]) -> Probabilities:
    return temper(aggregate(measured.views[mode], "mean"), fitted[mode].temperature)


def _mixed(passes: gates.Passes, gate: Gate) -> Probabilities:
    trusted = gate_value(passes.first_logits, gate.kind) >= gate.threshold
    return np.where(trusted[:, None], passes.first, passes.second)


def _quantiles(probabilities: Probabilities, labels: Labels) -> dict[str, float]:
    true = probabilities[np.arange(len(labels)), labels]
    return {key(c): round(quantile(true, c), 8) for c in COVERAGES}


def _default_mode(
    fitted: dict[Mode, ModeCalibration],
    measured: Measured,
    adaptive: _Tried,
    tolerance: Tolerance,
) -> Mode:
    """The cheapest mode whose answers are about as good as the best mode's."""
    answers: dict[Mode, Probabilities] = {
        mode: _tempered(measured, mode, fitted) for mode in DEFAULTS
    }
    answers["adaptive"] = adaptive.probabilities
    costs = {**measured.costs, "adaptive": adaptive.gate.expected_cost}
    best = min(answers.values(), key=lambda p: nll(p, measured.labels))
    good: list[Mode] = [
        mode
        for mode, probabilities in answers.items()
        if gates.good_enough(probabilities, best, measured.labels, tolerance)
    ]
    return min(good, key=lambda mode: costs[mode]) if good else "five_crop"
