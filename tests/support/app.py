"""The HTTP application in this process: the same routes as the server's, without a port."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from opentelemetry.trace import Tracer

from service.api.context import Context
from service.api.observability.metrics import Metrics
from service.api.routes import Api, create_app
from service.api.server.feedback_desk import opened_desk
from service.api.server.models import Models
from service.settings import Settings


@dataclass
class Running:
    """A client, and what is behind it."""

    client: httpx.AsyncClient
    models: Models
    metrics: Metrics
    context: Context

    def held_bytes(self) -> int:
        """Bytes that are held for all clients together."""
        return self.context.inflight.held_bytes


@asynccontextmanager
async def in_process(
    package: Path, tracer: Tracer | None = None, **settings: object
) -> AsyncIterator[Running]:
    """Serve `package` to the client that this gives."""
    values = {"packages": (package,), "provider": "cpu", "session_threads": 1, **settings}
    chosen = Settings.model_validate(values)
    metrics = Metrics(drift_window=chosen.drift_window)
    models = Models(chosen, metrics.observer)
    context = Context(chosen, models, metrics, tracer, feedback=opened_desk(chosen))
    app = create_app(Api(context))
    await models.load()
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield Running(client, models, metrics, context)
    await models.drain()
