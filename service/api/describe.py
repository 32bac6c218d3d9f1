"""A served model, described for clients."""

from typing import Any

from service.api.server.model_set import Served


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
        "default_tta": manifest.default_mode,
        "modes": list(predictor.model.modes),
        "calibrated": predictor.model.is_calibrated(manifest.default_mode),
        "heatmap": manifest.graph.takes_whole_images,
    }
    if full:
        content["labels"] = [label.model_dump() for label in manifest.labels]
        content["metrics"] = [
            metrics.model_dump(mode="json")
            for metrics in (*manifest.metrics, *manifest.multi_label_metrics)
            if metrics.precision == predictor.precision
        ]
    return content
