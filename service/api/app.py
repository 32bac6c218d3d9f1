# pyright: reportMissingTypeStubs=false
"""The BentoML service: lifecycle, packaging, health and clients around the routes.

`PathDispatcher` sends requests to our own application, before BentoML's request parser. That parser
would fetch a URL that it finds in a file field, and answer errors in its own shapes. The methods
below declare our routes to BentoML's schema and clients, and serve calls in this process.
"""

import asyncio
import gc
import inspect
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import _bentoml_impl.client
import bentoml
from _bentoml_sdk import Service
from bentoml._internal.server.http.traffic import TimeoutMiddleware
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from uvicorn.config import HTTP_PROTOCOLS

from service.api.context import Context
from service.api.observability.ledger import Ledger
from service.api.observability.logs import start_logging
from service.api.observability.metrics import Metrics
from service.api.observability.tracing import exported_tracer
from service.api.options import FIELDS
from service.api.path_dispatcher import PathDispatcher
from service.api.routes import Api, create_app
from service.api.server.draining import drain_on_sigterm
from service.api.server.feedback_desk import opened_desk, room_bytes
from service.api.server.models import Models
from service.api.server.reload_signal import Reloads
from service.api.server.signs_of_life import show_life
from service.api.server.worker import join, starting, supervisor, worker_count
from service.api.transport import Connection, Connections, Limits
from service.api.web.bentoml_cors import with_bentoml_cors
from service.inference.option_text import text_kind_of
from service.setting_values.renamed import rename_warnings
from service.settings import Settings, links_in

# BentoML starts uvicorn with its default protocol, and has no option for another.
HTTP_PROTOCOLS["auto"] = "service.api.transport:Connection"

Method = TypeVar("Method", bound=Callable[..., Any])

logger = logging.getLogger("quincunx.settings")


class LeanService(Service[Any]):
    """A BentoML service without three kinds of middleware.

    - Timeouts keep every finished request in memory until a timer ends, which also stalls the event
      loop. Our batcher keeps the deadlines.
    - Spans are recorded even if no exporter is set.
    - Our own gate does CORS.
    """

    def to_asgi(self, is_main: bool = True) -> Any:
        """The ASGI application that BentoML's worker serves."""
        _bentoml_impl.client.RemoteProxy = NoProxy
        self.inject_config()
        with starting():
            with_bentoml_cors(Settings.from_environment())  # BentoML's own error names no setting
        app = cast(Starlette, super().to_asgi(is_main))
        unwanted: set[Any] = {TimeoutMiddleware, CORSMiddleware}
        traced = exported_tracer() is not None
        if not traced:
            unwanted |= {OpenTelemetryMiddleware, PathDispatcher}
        app.user_middleware = [m for m in app.user_middleware if m.cls not in unwanted]
        # Nothing is left that our routes need, so their requests pass by Starlette's layers too.
        return app if traced else PathDispatcher(app)


class NoProxy:
    """Replaces the client that BentoML makes in each worker for background tasks.

    This service has no such tasks, and the client needs two temporary folders. With them a worker
    could not start on a full disk, and a killed worker would leave them behind.
    """

    to_async = to_sync = None

    def __init__(self, *_: object, **__: object) -> None: ...

    async def __aenter__(self) -> None: ...

    async def close(self) -> None: ...


def takes_options(method: Method) -> Method:
    """Put the options by name into the signature, which BentoML reads, instead of `**options`."""
    own = inspect.signature(method)
    images = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
    options = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=text_kind_of(field) | None,
        )
        for name, field in FIELDS.items()
    ]
    shown = own.replace(parameters=[*images, *options])
    cast(Any, method).__signature__ = shown
    return method


@bentoml.service(
    name="quincunx",
    service_class=LeanService,
    metrics={"enabled": False},  # /metrics is ours
    logging={"access": {"enabled": False}},  # and so is the request log
)
class Quincunx:
    """Image classification with five-crop test-time augmentation."""

    def __init__(self) -> None:
        with starting():
            settings = with_bentoml_cors(Settings.from_environment())
            self.log = start_logging(settings.log_format)
            if links := links_in(os.environ):  # where `quincunx serve` did not hide them
                logger.warning("ignored, since they describe services: %s", ", ".join(links))
            for warning in rename_warnings(os.environ):  # `quincunx serve` has renamed them
                logger.warning(warning)
            shared, self.slot = join(room_bytes(settings))
            metrics = Metrics(Ledger(shared, self.slot), settings.drift_window, worker_count())
            self.models = Models(settings, metrics.observer)
            self.reloads = Reloads(shared) if shared else None
            feedback = opened_desk(settings, shared, self.slot)
            context = Context(
                settings, self.models, metrics, exported_tracer(), self.reloads, feedback
            )
            self.api = Api(context)

    @bentoml.on_startup
    async def start(self) -> None:
        """Load and warm up the models. After that `/readyz` answers 200."""
        context = self.api.context
        with starting(self.slot):
            PathDispatcher.http = application = create_app(self.api)
            Connection.others = Connections(
                Limits.of(context.settings),
                context.inflight,
                refusal=application.refusal,
                closed=lambda reason: context.metrics.closed_connections.labels(reason).inc(),
                counted=self.slot.connections if self.slot else lambda number: None,
            )
            await self.models.load()
        if self.reloads is not None:
            self.following = asyncio.create_task(self.reloads.follow(self.models.load))
        if self.slot is not None:
            self.slot.ready(time.monotonic())
            self.life = asyncio.create_task(show_life(self.slot, supervisor()))
        drain_on_sigterm(self.models, self.api.settings.drain_ms)
        gc.collect()
        gc.freeze()  # these objects live until the end: later collections can skip them

    @bentoml.on_shutdown
    async def stop(self) -> None:
        """Answer the admitted requests."""
        await self.models.drain()
        self.log.stop()

    async def __is_ready__(self) -> bool:
        return self.models.ready

    @bentoml.api(route="/classify")
    @takes_options
    async def classify(self, image: Path, **options: Any) -> dict[str, Any]:
        """Classify one image."""
        return await self.api.classify_bytes(image.read_bytes(), options)

    @bentoml.api(route="/classify_batch")
    @takes_options
    async def classify_batch(self, images: list[Path], **options: Any) -> dict[str, Any]:
        """Classify many images: one result or error each, in order."""
        return await self.api.classify_many_bytes([i.read_bytes() for i in images], options)


Quincunx.add_asgi_middleware(cast(Any, PathDispatcher))
