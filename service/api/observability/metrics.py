"""Prometheus metrics, with buckets that start at half a millisecond.

BentoML's own request metrics start at 5 ms and keep a series for every requested path. So they are
off, and these replace them at `/metrics`. They are kept in memory that all workers of a server
share (`service.api.observability.ledger`). A folder of files could be deleted, or its disk full.
"""

from collections.abc import Sequence

from prometheus_client import CONTENT_TYPE_LATEST

from service.api.observability.drift.monitor import DriftMonitor
from service.api.observability.instruments import Exposition, Family, Instrument
from service.api.observability.ledger import Kind, Ledger
from service.api.server.model_set import Served
from service.inference.tta.steps import Classification
from service.package.manifest import Mode

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
PROBABILITIES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999)
# With negative bounds Prometheus has no sum and no count; the last bucket counts all.
SCORES = (-4, -2, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24)
VIEWS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 48, 64, 128, 256)


class Metrics:
    """Every metric of the service. One object per process."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(
        self, ledger: Ledger | None = None, drift_window: int = 0, workers: int = 1
    ) -> None:
        """Without a ledger they count for this process alone.

        `drift_window`: see `DriftMonitor`.
        """
        ledger = ledger or Ledger()
        exposition = Exposition(ledger)
        self.expose = exposition.text
        """The text of `/metrics`, over all workers of the server."""

        def made(
            kind: Kind, name: str, text: str, labels: Sequence[str], buckets: Sequence[float] = ()
        ) -> Instrument:
            family = Family(kind, f"quincunx_{name}", text, tuple(labels), tuple(buckets))
            exposition.add(family)
            return Instrument(family, ledger)

        def histogram(
            name: str, text: str, labels: Sequence[str], buckets: Sequence[float]
        ) -> Instrument:
            return made("histogram", name, text, labels, buckets)

        def counter(name: str, text: str, labels: Sequence[str]) -> Instrument:
            return made("counter", name, text, labels)

        self.request_seconds = histogram(
            "request_seconds", "A request, from its first byte to its answer", ["route"], SECONDS
        )
        self.requests = counter("requests", "Requests by route and status", ["route", "status"])
        self.decode_seconds = histogram("decode_seconds", "Decoding one image", [], SECONDS)
        self.queue_seconds = histogram(
            "queue_seconds", "How long an image's views waited for the session", ["model"], SECONDS
        )
        self.inference_seconds = histogram(
            "inference_seconds", "One batch in the session", ["model"], SECONDS
        )
        self.batch_views = histogram("batch_views", "Views in one batch", ["model"], VIEWS)
        self.image_views = histogram("image_views", "Views run for one image", ["model"], VIEWS)
        self.images = counter("images", "Images answered, by mode applied", ["model", "tta"])
        self.gate = counter("gate", "Adaptive images by whether the gate opened", ["model", "open"])
        self.refused = counter("refused", "Requests refused, by reason", ["model", "reason"])
        self.degraded = counter("degraded", "Images in a cheaper mode than asked", ["model"])
        self.feedback = counter("feedback", "Feedback by outcome of the answer", ["outcome"])
        self.waiting_views = made(
            "gauge", "waiting_views", "Views admitted and not yet answered", ["model"]
        )
        self.closed_connections = counter(
            "closed_connections", "Connections that the server ended, by reason", ["reason"]
        )
        self.top_probability = histogram(
            "top_probability", "Probability of the likeliest class", ["model"], PROBABILITIES
        )
        self.unknown_score = histogram(
            "unknown_score", "Unknown score; 0 is typical, higher is less known", ["model"], SCORES
        )
        self.unknown = counter("unknown", "Images that none of the classes fits", ["model"])
        self.drift = DriftMonitor(ledger, drift_window, workers)
        exposition.add_computed(self.drift.metrics)
        self.held_bytes = made(
            "gauge",
            "held_bytes",
            "Bytes of bodies that are on their way and of answers that were not yet taken",
            [],
        )

    def observer(self, model: str) -> "ModelMetrics":
        """The observer of the batcher of `model`."""
        return ModelMetrics(self, model)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count one request. `route` is a path of ours, never a path from the client."""
        self.requests.labels(route, str(status)).inc()
        self.request_seconds.labels(route).observe(seconds)

    def image(
        self, served: Served, answer: Classification, requested: Mode, decode_s: float
    ) -> None:
        """Count one answered image."""
        model, applied = served.name, answer.tta
        self.decode_seconds.observe(decode_s)
        self.image_views.labels(model).observe(answer.passes)
        self.images.labels(model, applied).inc()
        if applied != requested:
            self.degraded.labels(model).inc()
        if answer.gate_open is not None:
            self.gate.labels(model, str(answer.gate_open).lower()).inc()
        self.top_probability.labels(model).observe(float(answer.probabilities.max()))
        if answer.unknown is not None:
            self.unknown_score.labels(model).observe(answer.unknown.score)
            if answer.unknown.is_unknown:
                self.unknown.labels(model).inc()
        self.drift.seen(served, answer)


class ModelMetrics:
    """The batcher's observer, writing to `Metrics`."""

    def __init__(self, metrics: Metrics, model: str) -> None:
        self._inference = metrics.inference_seconds.labels(model)
        self._views = metrics.batch_views.labels(model)
        self._queue = metrics.queue_seconds.labels(model)
        self._waiting = metrics.waiting_views.labels(model)
        self._refused = metrics.refused
        self._model = model

    def batch(self, views: int, seconds: float) -> None:
        self._views.observe(views)
        self._inference.observe(seconds)

    def waited(self, seconds: float) -> None:
        self._queue.observe(seconds)

    def refused(self, reason: str) -> None:
        self._refused.labels(self._model, reason).inc()

    def admitted(self, views: int) -> None:
        self._waiting.inc(views)
