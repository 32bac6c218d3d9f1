"""One image from bytes to the JSON of its answer."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.api.context import Context
from service.api.degrade import applied_mode
from service.api.heatmap import check_heatmap, heatmap_json, with_class_map
from service.api.http.problems import describe, note_failure
from service.api.observability.tracing import trace_image
from service.api.options import FIELDS, RequestOptions
from service.api.server.model_set import ModelSet, Served
from service.errors import QuincunxError, UsageError
from service.inference.engine import Steps
from service.inference.image.views import AnyImage, Pixels, size_of
from service.inference.predictor import Prediction
from service.inference.tta.single_views import ViewClassification
from service.inference.tta.steps import (
    Classification,
    Options,
    check_embeds,
    check_options,
)
from service.package.manifest import Mode
from service.scheduler.queue import StageTimings


@dataclass
class Work:
    """The first work for an image: decode it and start its generator."""

    image: bytes | Pixels
    served: Served
    options: Options
    want_class_map: bool
    decode_s: float = 0.0
    width_px: int = 0
    height_px: int = 0

    def prepare(self) -> Steps:
        started = time.perf_counter()
        image: AnyImage
        if isinstance(self.image, bytes):
            image = self.served.predictor.open_image(self.image, self.options.boxes)
        else:
            image = self.image
        self.decode_s = time.perf_counter() - started
        size = size_of(image)
        self.height_px, self.width_px = size.height, size.width
        uncontended = self.served.batcher.uncontended
        steps = self.served.predictor.start(image, self.options, uncontended=uncontended)
        if self.want_class_map:
            return with_class_map(steps, image, self.served.predictor.model.planner)
        return steps


def resolve(asked: RequestOptions, served: Served) -> Mode:
    """The requested mode, after every option was checked against the model.

    Raises:
        UsageError: options that do not fit together or to this model.
    """
    model = served.predictor.model
    check_options(asked, model)
    if "heatmap" in asked.include:
        check_heatmap(model.manifest)
    elif asked.heatmap != FIELDS["heatmap"].default:
        raise UsageError(f"heatmap={asked.heatmap} needs include=heatmap")
    if "embedding" in asked.include:
        check_embeds(model.manifest)
    return model.mode(asked)


async def classify_one(
    context: Context, models: ModelSet, data: bytes, asked: RequestOptions, timeout_s: float
) -> dict[str, Any]:
    """Answer one image with one of `models`, which the caller has borrowed.

    Raises:
        QuincunxError: the image is invalid, or cannot be answered in time.
    """
    served = models.get(asked.model)
    applied = applied_mode(asked, resolve(asked, served), served, context.settings, timeout_s)
    with served.batcher.admission.admit(served.views(applied, asked.boxes), timeout_s):
        return await _classify_admitted(context, data, asked, served, applied, timeout_s)


async def classify_all(
    context: Context,
    models: ModelSet,
    images: list[bytes],
    asked: RequestOptions,
    timeout_s: float,
    request_id: str,
) -> dict[str, Any]:
    """Answer many images, admitted together, with one of `models`, which the caller has borrowed.

    `{"model": tag, "results": [...]}`: one answer or `{"error": ...}` for each image, in order.

    Raises:
        QuincunxError: the options are invalid, or not all images can be answered in time.
    """
    served = models.get(asked.model)
    applied = applied_mode(asked, resolve(asked, served), served, context.settings, timeout_s)

    async def one(data: bytes) -> dict[str, Any]:
        try:
            return await _classify_admitted(context, data, asked, served, applied, timeout_s)
        except QuincunxError as error:
            note_failure(error, request_id)
            return {"error": describe(error, request_id)}

    views = served.views(applied, asked.boxes) * len(images)
    with served.batcher.admission.admit(views, timeout_s):
        results = await asyncio.gather(*map(one, images))
    return {"model": served.tag, "results": results}


async def run_image(
    context: Context, work: Work, asked: RequestOptions, timeout_s: float
) -> tuple[Classification, StageTimings]:
    """Run an admitted image to its answer, and count it."""
    served = work.served
    answer, times = await served.batcher.run(work.prepare, timeout_s)
    requested = served.predictor.model.mode(asked)
    context.metrics.image(served, answer, requested, work.decode_s)
    trace_image(context.tracer, served.tag, work.decode_s, times)
    return answer, times


async def _classify_admitted(
    context: Context,
    data: bytes,
    asked: RequestOptions,
    served: Served,
    applied: Mode,
    timeout_s: float,
) -> dict[str, Any]:
    started = time.perf_counter()
    heatmap = "heatmap" in asked.include
    work = Work(data, served, asked.in_mode(applied), heatmap)
    answer, times = await run_image(context, work, asked, timeout_s)
    prediction = served.predictor.predict(answer, asked.top_k)
    content = answer_json(prediction, asked, served, applied)
    if "embedding" in asked.include:
        content["embedding"] = embedding_json(answer.embedding)
    if "views" in asked.include:
        content["image"] = {"width_px": work.width_px, "height_px": work.height_px}
        content["views"] = [_view_json(view, served) for view in answer.views]
    if heatmap and answer.class_map is not None:
        # Drawing a picture takes milliseconds, so the event loop must not do it.
        content["heatmap"] = await asyncio.to_thread(
            heatmap_json,
            answer.class_map, prediction.top[0].index, asked.heatmap, served.predictor.model.task,
        )  # fmt: skip
    content["timing_ms"] = _timing_json(work, times, time.perf_counter() - started, asked)
    return content


def answer_json(
    prediction: Prediction, asked: RequestOptions, served: Served, applied: Mode
) -> dict[str, Any]:
    """The answer as JSON, without what `include` adds and without times."""
    answer: Classification = prediction.answer
    content: dict[str, Any] = {
        "model": served.tag,
        "precision": served.predictor.precision,
        "label": prediction.label,
        "name": prediction.name,
        "probability": prediction.probability,
        "predictions": [top.as_json() for top in prediction.top],
        "tta": applied,
        "tta_requested": served.predictor.model.mode(asked),
        "tta_applied": applied,
        "aggregate": asked.aggregate,
        "calibrated": answer.calibrated,
        "passes": answer.passes,
        "cost": round(answer.cost, 4),
    }
    content["unknown"] = None if prediction.unknown is None else prediction.unknown.as_json()
    if answer.gate_open is not None:
        content["gate_open"] = answer.gate_open
    if prediction.prediction_set is not None:
        content["prediction_set"] = prediction.prediction_set
    if prediction.prediction_set_classes is not None:
        content["prediction_set_classes"] = [
            one.as_json() for one in prediction.prediction_set_classes
        ]
    if prediction.labels is not None:
        content["labels"] = [label.as_json() for label in prediction.labels]
    return content


def embedding_json(embedding: NDArray[np.float32] | None) -> list[float]:
    """float32[C] as JSON numbers, with the digits that tell all float32 numbers apart."""
    return [] if embedding is None else [float(f"{one:.9g}") for one in embedding.tolist()]


def _view_json(view: ViewClassification, served: Served) -> dict[str, Any]:
    best = int(view.probabilities.argmax())
    label = served.predictor.manifest.labels[best]
    box = view.box
    return {
        "box": [round(edge, 6) for edge in (box.left, box.top, box.right, box.bottom)],
        "flip": box.flip,
        "label": label.id,
        "name": label.name,
        "index": best,
        "probability": float(view.probabilities[best]),
    }


def _timing_json(
    work: Work, times: StageTimings, total_s: float, asked: RequestOptions
) -> dict[str, Any]:
    timing: dict[str, Any] = {
        "decode": _ms(work.decode_s),
        "queue": _ms(times.queue),
        "inference": _ms(times.inference),
        "total": _ms(total_s),
    }
    if "timing" in asked.include:
        timing["prepare"] = _ms(times.prepare - work.decode_s)
        timing["finish"] = _ms(times.finish)
        timing["batch_views"] = times.batches
    return timing


def _ms(seconds: float) -> float:
    return round(max(0.0, seconds) * 1000, 3)
