"""The HTTP routes as one ASGI application, independent of BentoML."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from service.api.application import Application
from service.api.classify import classify_all, classify_one
from service.api.context import Context
from service.api.describe import describe_model
from service.api.documentation.docs_page import docs_page
from service.api.documentation.openapi import openapi
from service.api.embed import check_embed_options, embed_one
from service.api.feedback import take_feedback
from service.api.http.bodies import Form, beside_the_loop, parse_form, read_body
from service.api.http.deadlines import timeout_of
from service.api.http.key_file import KeyFile
from service.api.http.keys import Keys
from service.api.http.problems import json_response, long_json_response
from service.api.http.rejection_throttle import RejectionThrottle
from service.api.http.request_guard import RequestGuard
from service.api.oip.routes import Oip, oip_problem
from service.api.options import RequestOptions, options_in, read_options
from service.api.page import FILES, page_file
from service.api.server.model_set import ModelSet
from service.api.web.gate import Gate
from service.api.web.hosts import Hosts
from service.errors import ModelPackageError, ReloadFailed, UsageError

AnswerOfOne = Callable[[Context, ModelSet, bytes, RequestOptions, float], Awaitable[dict[str, Any]]]
"""Answers the bytes of one image within the given number of seconds."""


class Api:
    """The handlers, and what they share."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.settings = context.settings
        self.models = context.models

    async def classify(self, request: Request) -> Response:
        """`POST /classify`: one image."""
        content = await self._of_one_image(request, classify_one)
        self.remember(request, [content])
        return json_response(content)

    async def classify_batch(self, request: Request) -> Response:
        """`POST /classify_batch`: many images, one result or error each, in order."""
        started = time.perf_counter()
        timeout_s, query = timeout_of(request, self.settings), _query(request)
        with self.models.borrow() as models:
            form = await self.read(request, models, "images", timeout_s)
            asked = options_in(query, form.fields)
            if not form.images:
                raise UsageError("send at least one file in the field 'images'")
            left_s = timeout_s - (time.perf_counter() - started)
            request_id: str = request.state.request_id
            content = await classify_all(
                self.context, models, form.images, asked, left_s, request_id
            )
        request.state.log.update(model=content["model"], images=len(content["results"]))
        content["request_id"] = request.state.request_id
        self.remember(request, content["results"])
        return await long_json_response(content, "results")

    async def embed(self, request: Request) -> Response:
        """`POST /embed`: the embedding of one image."""
        return json_response(await self._of_one_image(request, embed_one, check_embed_options))

    async def _of_one_image(
        self,
        request: Request,
        answer: AnswerOfOne,
        check: Callable[[RequestOptions], None] | None = None,
    ) -> dict[str, Any]:
        """Read a request with one image; what `answer` says of it, and the id of the request."""
        started = time.perf_counter()
        timeout_s, query = timeout_of(request, self.settings), _query(request)
        with self.models.borrow() as models:
            form = await self.read(request, models, "image", timeout_s)
            asked = options_in(query, form.fields)
            if check is not None:
                check(asked)
            image = _only_image(form)
            left_s = timeout_s - (time.perf_counter() - started)
            content = await answer(self.context, models, image, asked, left_s)
        request.state.log.update(model=content["model"], tta=content["tta_applied"])
        content["request_id"] = request.state.request_id
        return content

    def remember(self, request: Request, answers: list[dict[str, Any]]) -> None:
        """Keep the answers of a request for feedback about them."""
        if self.context.feedback is not None:
            self.context.feedback.remember(request.state.request_id, answers)

    async def live(self, _: Request) -> Response:
        """`GET /livez`: the process answers."""
        return PlainTextResponse("\n")

    async def ready(self, _: Request) -> Response:
        """`GET /readyz`: the models are loaded, and the server is not shutting down."""
        with self.models.borrow():
            return PlainTextResponse("\n")

    async def list_models(self, _: Request) -> Response:
        """`GET /models`."""
        served = [describe_model(model, default=i == 0) for i, model in enumerate(self.models)]
        return json_response({"models": served, "feedback": self.context.feedback is not None})

    async def show_model(self, request: Request) -> Response:
        """`GET /models/{name}`, where the name is `NAME` or `NAME@VERSION`."""
        model = self.models.get(request.path_params["name"])
        return json_response(describe_model(model, default=model is self.models.get(), full=True))

    async def reload(self, request: Request) -> Response:
        """`POST /models/reload`: verify the packages on the disk again, then serve them.

        Other workers follow within a second. They log a package that they cannot load.

        Raises:
            ReloadFailed: a package cannot be loaded; the old models stay in service.
        """
        try:
            served = await self.models.load()
        except (ModelPackageError, UsageError) as error:
            raise ReloadFailed(f"the old models stay in service: {error}") from error
        if self.context.reloads is not None:
            self.context.reloads.announce()
        request.state.log["models"] = [model.tag for model in served]
        return json_response({"models": [model.tag for model in served]})

    async def expose_metrics(self, _: Request) -> Response:
        """`GET /metrics`."""
        self.context.metrics.drift.show(self.models)
        text = await asyncio.to_thread(self.context.metrics.expose)
        return Response(text, media_type=self.context.metrics.content_type)

    async def documentation(self, _: Request) -> Response:
        """`GET /docs.json`: OpenAPI."""
        return json_response(openapi())

    async def read(
        self, request: Request, models: ModelSet, file_field: str, timeout_s: float
    ) -> Form:
        """Read and parse a body of images, within the limits."""
        models.check_room(timeout_s)
        body = await read_body(request, self.settings.max_request_bytes, timeout_s)
        kind = request.headers.get("content-type", "")
        parse = partial(
            parse_form, body, kind, file_field,
            raw=file_field == "image", max_images=self.settings.max_images,
        )  # fmt: skip
        return await beside_the_loop(len(body), parse)

    async def classify_bytes(self, data: bytes, options: Mapping[str, object]) -> dict[str, Any]:
        """Classify one image in this process. Options are as in the query; None is not given."""
        asked = read_options([], _given(options))
        timeout_s = self.settings.request_timeout_ms / 1000
        with self.models.borrow() as models:
            return await classify_one(self.context, models, data, asked, timeout_s)

    async def classify_many_bytes(
        self, images: list[bytes], options: Mapping[str, object]
    ) -> dict[str, Any]:
        """Classify many images in this process."""
        asked = read_options([], _given(options))
        timeout_s = self.settings.request_timeout_ms / 1000
        with self.models.borrow() as models:
            return await classify_all(self.context, models, images, asked, timeout_s, "")


def _only_image(form: Form) -> bytes:
    if len(form.images) != 1:
        raise UsageError(f"send one file in the field 'image', but got {len(form.images)}")
    return form.images[0]


def _query(request: Request) -> bytes:
    """The query string. Its options are checked before a body is read."""
    query: bytes = request.scope["query_string"]
    options_in(query, {})
    return query


def _given(options: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in options.items() if value is not None}


def create_app(api: Api) -> Application:
    """The application over `api`."""
    settings = api.settings
    key_file = KeyFile(settings)  # before the keys are read, so that it sees every later change
    users, admins = Keys(settings.keys(), key_file), Keys(settings.admin_keys)
    throttle = RejectionThrottle(api.models.wait_s)
    inflight = api.context.inflight
    guarded = partial(
        RequestGuard,
        api.context.metrics,
        users,
        admins,
        throttle,
        inflight,
        log=settings.log_requests,
    )
    guard, oip_guard = guarded(), guarded(render=oip_problem)
    admit_metrics = guard.keyed if settings.metrics_need_key else guard.open

    def route(method: str, path: str, handler: Any, admit: Any = guard.keyed) -> Route:
        return Route(path, admit(path, handler), methods=[method])

    routes = [
        route("POST", "/classify", api.classify),
        route("POST", "/classify_batch", api.classify_batch),
        route("POST", "/embed", api.embed),
        route("POST", "/feedback", partial(take_feedback, api.context)),
        route("GET", "/models", api.list_models),
        route("POST", "/models/reload", api.reload, guard.admin),
        route("GET", "/models/{name}", api.show_model),
        route("GET", "/metrics", api.expose_metrics, admit_metrics),
        route("GET", "/docs", docs_page, guard.open),
        route("GET", "/docs.json", api.documentation, guard.open),
    ]
    routes += oip_routes(Oip(api.context), oip_guard)
    if settings.page:
        routes.append(route("GET", "/", partial(page_file, "index.html"), guard.open))
        routes += [
            Route(f"/page/{name}", guard.open("/page", partial(page_file, name)), methods=["GET"])
            for name in FILES
        ]
    unlogged = guarded(log=False)  # probes come every second
    routes += [
        Route(path, unlogged.open(path, handler), methods=["GET"])
        for path, handler in (
            ("/livez", api.live), ("/healthz", api.live), ("/readyz", api.ready),
        )
    ]  # fmt: skip
    return Application(
        routes, guard, oip_guard, Gate(Hosts(settings.allowed_hosts), settings.cors_origins)
    )


def oip_routes(oip: Oip, guard: RequestGuard) -> list[Route]:
    """The routes of the Open Inference Protocol."""
    routes = [
        Route("/v2", guard.open("/v2", oip.server), methods=["GET"]),
        Route("/v2/health/live", guard.open("/v2/health/live", oip.live), methods=["GET"]),
        Route("/v2/health/ready", guard.open("/v2/health/ready", oip.ready), methods=["GET"]),
    ]
    for path in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        routes += [
            Route(path, guard.keyed(path, oip.metadata), methods=["GET"]),
            Route(f"{path}/ready", guard.keyed(f"{path}/ready", oip.model_ready), methods=["GET"]),
            Route(f"{path}/infer", guard.keyed(f"{path}/infer", oip.infer), methods=["POST"]),
        ]
    return routes
