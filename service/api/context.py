"""What every handler of one server shares."""

from dataclasses import dataclass, field

from opentelemetry.trace import Tracer

from service.api.http.inflight import Inflight
from service.api.observability.metrics import Metrics
from service.api.server.following import Reloads
from service.api.server.models import Models
from service.settings import Settings


@dataclass(frozen=True)
class Context:
    """The settings, the models and the metrics of one server process."""

    settings: Settings
    models: Models
    metrics: Metrics
    tracer: Tracer | None = None
    """Where the stages of an image are told of; None tells nobody."""
    reloads: Reloads | None = None
    """How the other workers of this server hear of a reload; None: there are none."""
    inflight: Inflight = field(init=False)
    """The bytes that are held for all clients together."""

    def __post_init__(self) -> None:
        limit = self.settings.most_inflight_bytes
        object.__setattr__(self, "inflight", Inflight(limit, self.metrics.held_bytes.inc))
