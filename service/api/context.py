"""Objects that all handlers of one server share."""

from dataclasses import dataclass, field

from opentelemetry.trace import Tracer

from service.api.http.inflight import Inflight
from service.api.observability.metrics import Metrics
from service.api.server.models import Models
from service.api.server.reload_signal import Reloads
from service.feedback.desk import FeedbackDesk
from service.settings import Settings


@dataclass(frozen=True)
class Context:
    """The settings, the models and the metrics of one server process."""

    settings: Settings
    models: Models
    metrics: Metrics
    tracer: Tracer | None = None
    """Records the stages of each image; None: tracing is off."""
    reloads: Reloads | None = None
    """Announces a reload to the other workers of this server; None: there are no others."""
    feedback: FeedbackDesk | None = None
    """Takes feedback about answers; None: the server takes none."""
    inflight: Inflight = field(init=False)
    """The bytes that are held for all clients together."""

    def __post_init__(self) -> None:
        limit = self.settings.most_inflight_bytes
        object.__setattr__(self, "inflight", Inflight(limit, self.metrics.held_bytes.inc))
