"""A served model, described for clients."""

from typing import Any, get_args

from service.api.server.model_set import Served
from service.inference.tta.steps import Model
from service.package.manifest import Aggregation, Mode


def describe_model(served: Served, *, default: bool, full: bool = False) -> dict[str, Any]:
    """A description of the model as JSON; `full` adds the labels and measurements."""
    predictor = served.predictor
    manifest = predictor.manifest
    content: dict[str, Any] = {
        "model": served.tag,
        "name": served.name,
        "version": served.version,
        "default": default,
        "task": manifest.task,
        "precision": predictor.precision,
        "provider": predictor.session.provider,
        "classes": len(manifest.labels),
        "crop_px": manifest.input.crop_px,
        "resize_px": manifest.input.resize_px,
        "fit": manifest.input.fit,
        "default_tta": manifest.default_mode,
        "modes": list(predictor.model.modes),
        "calibrated": predictor.model.is_calibrated(manifest.default_mode),
        "heatmap": manifest.graph.takes_whole_images,
        "embedding": manifest.graph.embedding,
        "known_rate": None if manifest.unknown is None else manifest.unknown.known_rate,
    }
    if full:
        content["mode_options"] = [
            _mode_options(predictor.model, mode) for mode in predictor.model.modes
        ]
        content["labels"] = [label.model_dump() for label in manifest.labels]
        content["metrics"] = [
            metrics.model_dump(mode="json")
            for metrics in (*manifest.metrics, *manifest.multi_label_metrics)
            if metrics.precision == predictor.precision
        ]
    return content


def _mode_options(model: Model, mode: Mode) -> dict[str, Any]:
    """What was fitted for a mode, and so which options a request for it may have."""
    fitted = model.calibration(mode)
    weighing = model.calibration(model.planner.second_mode) if mode == "adaptive" else fitted
    aggregates: list[Aggregation] = [
        how
        for how in get_args(Aggregation)
        if how != "weighted" or weighing.view_weights is not None
    ]
    content: dict[str, Any] = {
        "mode": mode,
        "aggregates": aggregates,
        "coverages": sorted(float(coverage) for coverage in fitted.conformal),
    }
    if curve := model.unknown_curve(mode, None):
        content["known_rates"] = [curve[0][0], curve[-1][0]]
    if fitted.gate is not None:
        content["expected_cost"] = fitted.gate.expected_cost
    return content
