"""Test-time augmentation of one image, as a generator that does no inference itself.

`classify_steps` yields views and is sent their results. The caller runs the views, so the same code
serves the HTTP batcher, offline scoring, evaluation and benchmarks.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from service.errors import ModelPackageError, UsageError
from service.inference.image.views import (
    AnyImage,
    check_image,
    size_of,
)
from service.inference.options import OFF, Options
from service.inference.tta.aggregate import Array, aggregate_mode, blend, temper
from service.inference.tta.conformal import prediction_set
from service.inference.tta.evidence import Evidence, blended, second_outputs
from service.inference.tta.gate import gate_value
from service.inference.tta.model import Model as Model
from service.inference.tta.passes import Resized, StepsOf, read_passes, resize_for
from service.inference.tta.planner import Pass, Plan
from service.inference.tta.single_views import SingleViews, ViewClassification
from service.inference.unknown import NONE_FOR_SEVERAL_LABELS, Unknown, threshold_at
from service.package import modes
from service.package.manifest import Manifest, Mode, ModeCalibration

HELD_BYTES = 64 * 1024 * 1024
"""About 16 MP of decoded pixels. For a larger image, only its resized copies are kept for the
second pass, because many images may wait at once."""


@dataclass(frozen=True)
class Classification:
    """The answer for one image."""

    tta: Mode
    probabilities: Array
    """float64[K], aggregated and tempered; those of a single-label model sum to 1."""
    raw: Array
    """float64[K], aggregated and not tempered. Calibration fits on it."""
    single_views: SingleViews
    class_map: NDArray[np.float32] | None
    """float32[K, h, w], if a pass over the whole image ran."""
    passes: int
    cost: float
    """Pixels that the network saw, in single crops."""
    calibrated: bool = True
    """Whether the confidence was calibrated: a temperature was fitted for this mode."""
    gate_open: bool | None = None
    """`adaptive`: whether the second pass ran."""
    prediction_set: tuple[int, ...] | None = None
    present: tuple[int, ...] | None = None
    """Multi-label models: the classes at or above their thresholds, likeliest first."""
    embedding: NDArray[np.float32] | None = None
    """float32[C], the mean over views; None if the package has no embeddings."""
    unknown: Unknown | None = None
    """None: the package or the mode has no unknown score, or it is switched off."""

    @cached_property
    def views(self) -> tuple[ViewClassification, ...]:
        """The answer of each view on its own. Computed when it is first read."""
        return tuple(self.single_views)


def check_options(options: Options, model: Model) -> None:
    """Refuse options that cannot work, before anything is decoded or queued.

    Raises:
        UsageError: an option that this model cannot have.
    """
    mode = model.mode(options)
    if reason := modes.why_not(model.manifest, mode):
        raise UsageError(
            f"{model.manifest.name} cannot answer tta={mode}: {reason}; "
            f"it can answer: {', '.join(model.modes)}"
        )
    model.planner.check(mode, options.boxes)
    model.task.check(mode, options.coverage)
    if mode == "adaptive":
        model.gate(options.gate_cost)
    elif options.gate_cost is not None:
        raise UsageError(f"gate_cost is for tta=adaptive, but tta is {mode}")
    weighing = model.planner.second_mode if mode == "adaptive" else mode
    if options.aggregate == "weighted" and model.calibration(weighing).view_weights is None:
        raise UsageError(
            f"aggregate=weighted: no weights were fitted for tta={mode} at {model.precision}"
        )
    if options.coverage is not None:
        prediction_set(np.array([1.0]), options.coverage, model.quantiles(options))
    if options.known_rate not in (None, OFF):
        _check_known_rate(float(options.known_rate), mode, model)


def _check_known_rate(known_rate: float, mode: Mode, model: Model) -> None:
    curve = model.unknown_curve(mode, known_rate)
    if curve is not None:
        threshold_at(curve, known_rate)
        return
    name = model.manifest.name
    if not model.task.one_is_true:
        raise UsageError(f"known_rate: {name} {NONE_FOR_SEVERAL_LABELS}")
    if model.unknown is None:
        raise UsageError(f"known_rate: {name} has no unknown score (quincunx calibrate fits it)")
    raise UsageError(f"known_rate: no unknown score was fitted for tta={mode}")


def check_embeds(manifest: Manifest) -> None:
    """Raises UsageError for a package whose graphs give no embedding."""
    if manifest.graph.embedding is None:
        raise UsageError(
            f"{manifest.name} has no embeddings (quincunx add-embedding adds them to a package)"
        )


def check_default_mode(model: Model) -> None:
    """Check that a request that names no mode can be answered.

    Raises:
        ModelPackageError: the default mode needs fitted values that this precision does not have.
    """
    try:
        check_options(Options(), model)
    except UsageError as error:
        raise ModelPackageError(
            f"default_mode is {model.manifest.default_mode}: {error}"
        ) from error


def classify_steps(image: AnyImage, options: Options, model: Model) -> StepsOf[Classification]:
    """Classify uint8[H, W, 3] or a decoded file.

    Yields lists of views, is sent one result per view, and returns the answer. A result is logits
    float32[K] or class_map float32[K, h, w], as the view's `output` says.

    Raises:
        UsageError, ImageTooSmall: see `check_options` and the planner.
    """
    check_image(image)
    plan = model.planner.plan(model.mode(options), size_of(image), options.boxes)
    if plan.mode == "adaptive":
        adaptive = _adaptive(image, plan, options, model)
        del image  # the views may wait for their batch, and do not need it
        return (yield from adaptive)
    reading = read_passes(image, plan.first, model.crop_features, embedding=model.embeds)
    del image
    read = yield from reading
    calibration = model.calibration(plan.mode)
    raw = _aggregated(read.logits, options, calibration, model)
    answer = _tempered(raw, calibration, model)
    views = SingleViews(read.shown, (read.logits,), (calibration,), model.task)
    evidence = Evidence.of(read, calibration)
    return _conclude(read.class_map, plan.first, raw, answer, views, options, model, evidence)


def _adaptive(
    image: AnyImage, plan: Plan, options: Options, model: Model
) -> StepsOf[Classification]:
    """Run the first pass, and the second one if the gate opens; then blend both answers."""
    gate, calibration = model.gate(options.gate_cost), model.calibration("adaptive")
    resized = resize_for(image, plan.first)
    later = _for_second_pass(image, resized, plan.rest)
    reading = read_passes(resized, plan.first, model.crop_features, embedding=model.embeds)
    del image, resized
    first = yield from reading
    evidence = Evidence.of(first, calibration)
    raw = _aggregated(first.logits, options, calibration, model)
    alone = _tempered(raw, calibration, model)
    views = SingleViews(first.shown, (first.logits,), (calibration,), model.task)
    # `raw` is the softmax of the only view.
    if not plan.rest or gate_value(first.logits[0], gate.kind, raw) >= gate.threshold:
        return _conclude(
            first.class_map, plan.first, raw, alone, views, options, model, evidence, False
        )
    reading = read_passes(later, plan.rest, model.crop_features, embedding=model.embeds)
    del later
    rest = yield from reading
    second = second_outputs(plan, first, rest)
    own = model.calibration(plan.second_mode)
    # Temper each answer before the blend. Otherwise the share would have to correct a wrong
    # temperature.
    raw = blend(
        alone,
        _tempered(_aggregated(second.logits, options, own, model), own, model),
        calibration.second_share,
    )
    answer = temper(raw, calibration.second_temperature, model.task)
    class_map = rest.class_map if rest.class_map is not None else first.class_map
    views = SingleViews(
        (*first.shown, *rest.shown),
        (first.logits, rest.logits),
        (calibration, own),
        model.task,
        calibration.second_temperature,
    )
    passes = (*plan.first, *plan.rest)
    evidence = blended(evidence, Evidence.of(second, own), calibration.second_share)
    return _conclude(class_map, passes, raw, answer, views, options, model, evidence, True)


def _for_second_pass(
    image: AnyImage, resized: Resized, passes: tuple[Pass, ...]
) -> AnyImage | Resized:
    """The data to keep until the gate decides: the resized copies, if they are enough.

    A large image must not stay in memory until then, so it is resized now.
    """
    if all(item.resized in resized for item in passes):
        return resized
    return image if image.nbytes <= HELD_BYTES else resize_for(image, passes)


def _aggregated(
    logits: NDArray[np.float32],
    options: Options,
    fitted: ModeCalibration,
    model: Model,
) -> Array:
    """The aggregate of all views, not tempered. A single view is its own mean."""
    if len(logits) == 1:
        return model.task.probabilities(logits)[0]
    return aggregate_mode(logits, options.aggregate, fitted, model.task)


def _tempered(raw: Array, calibration: ModeCalibration, model: Model) -> Array:
    return temper(raw, calibration.temperature, model.task, calibration.temperature_power)


def _conclude(
    class_map: NDArray[np.float32] | None,
    passes: tuple[Pass, ...],
    raw: Array,
    probabilities: Array,
    views: SingleViews,
    options: Options,
    model: Model,
    evidence: Evidence | None,
    gate_open: bool | None = None,
) -> Classification:
    """Build a `Classification`; `probabilities` are tempered."""
    mode = model.mode(options)
    calibration = model.calibration(mode)
    chosen = None
    if options.coverage is not None:
        chosen = prediction_set(probabilities, options.coverage, model.quantiles(options))
    thresholds = calibration.thresholds.get(options.aggregate)
    return Classification(
        tta=mode,
        probabilities=probabilities,
        raw=raw,
        single_views=views,
        class_map=class_map,
        passes=len(passes),
        cost=model.planner.cost(passes),
        calibrated=model.is_calibrated(mode),
        gate_open=gate_open,
        prediction_set=chosen,
        present=model.task.present(probabilities, thresholds),
        embedding=None if evidence is None else evidence.embedding.astype(np.float32),
        unknown=model.unknown_of(evidence, options),
    )
