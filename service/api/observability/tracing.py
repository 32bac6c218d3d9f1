"""OpenTelemetry spans of one image's stages, under the request's span that BentoML opened.

They are written when the image is answered, and only if tracing is on: without it they cost
nothing. BentoML alone would record spans for every request, and drop them if no exporter is set.
"""

import time

from bentoml._internal.configuration.containers import BentoMLContainer
from opentelemetry.trace import Tracer, get_current_span

from service.scheduler.queue import StageTimings

NS = 1e9


def exported_tracer() -> Tracer | None:
    """BentoML's tracer; None if its configuration names no exporter."""
    if not BentoMLContainer.tracing.exporter_type.get():
        return None
    return BentoMLContainer.tracer_provider.get().get_tracer("quincunx")


def trace_image(tracer: Tracer | None, model: str, decode_s: float, times: StageTimings) -> None:
    """Write one span for each stage, one after the other. The last one ends now.

    A stage that ran twice is one span.
    """
    if tracer is None or not get_current_span().is_recording():
        return
    stages = {
        "decode": decode_s,
        "prepare": max(0.0, times.prepare - decode_s),
        "queue": times.queue,
        "inference": times.inference,
        "finish": times.finish,
    }
    at = time.time_ns() - int(sum(stages.values()) * NS)
    for name, seconds in stages.items():
        attributes: dict[str, str | int] = {"quincunx.model": model}
        if name == "inference":
            attributes["quincunx.batches"] = len(times.batches)
            attributes["quincunx.largest_batch_views"] = max(times.batches, default=0)
        span = tracer.start_span(f"quincunx.{name}", start_time=at, attributes=attributes)
        at += int(seconds * NS)
        span.end(end_time=at)
