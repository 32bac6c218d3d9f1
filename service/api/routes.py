"""The HTTP routes, as one Starlette application that knows nothing of BentoML."""

import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.api.bodies import Form, parse_form, read_body
from service.api.classify import classify, resolve
from service.api.models import Models
from service.api.options import Asked, read_options
from service.api.problems import json_response, problem
from service.errors import ShuttingDown, UsageError
from service.settings import Settings

Handler = Callable[[Request], Awaitable[Response]]


class Api:
    """What the handlers share."""

    def __init__(self, settings: Settings, models: Models) -> None:
        self.settings = settings
        self.models = models

    async def classify(self, request: Request) -> Response:
        """`POST /classify`: one image."""
        started = time.perf_counter()
        timeout_s = timeout_of(request, self.settings)
        form = await self._read(request, "image")
        asked = read_options(request.query_params.multi_items(), form.fields)
        if len(form.images) != 1:
            raise UsageError(f"send one file in the field 'image', but got {len(form.images)}")
        left_s = timeout_s - (time.perf_counter() - started)
        content = await self._answer(form.images[0], asked, left_s)
        content["request_id"] = request.state.request_id
        return json_response(content)

    async def _read(self, request: Request, file_field: str) -> Form:
        if not self.models.ready:
            raise ShuttingDown("the models are still loading")
        body = await read_body(request, self.settings.max_request_bytes)
        return parse_form(body, request.headers.get("content-type", ""), file_field)

    async def classify_bytes(self, data: bytes, options: Mapping[str, object]) -> dict[str, Any]:
        """One image, called in this process; options as in the query, None where not given."""
        given = {name: str(value) for name, value in options.items() if value is not None}
        asked = read_options([], given)
        return await self._answer(data, asked, self.settings.request_timeout_ms / 1000)

    async def _answer(self, data: bytes, asked: Asked, timeout_s: float) -> dict[str, Any]:
        served = self.models.get(asked.model)
        return await classify(data, asked, served, resolve(asked, served), timeout_s)


def timeout_of(request: Request, settings: Settings) -> float:
    """The deadline of a request in seconds from now.

    Raises:
        UsageError: the header is no whole number of milliseconds, or too large.
    """
    limit_ms = settings.request_timeout_ms
    text = request.headers.get("x-request-timeout-ms", "")
    if not text:
        return limit_ms / 1000
    if not (text.isascii() and text.isdigit() and 0 < int(text[:9]) <= limit_ms):
        raise UsageError(
            f"X-Request-Timeout-Ms must be a whole number from 1 to {limit_ms} "
            f"(QUINCUNX_REQUEST_TIMEOUT_MS), but got {text[:40]!r}"
        )
    return int(text) / 1000


def create_app(api: Api) -> Starlette:
    """The application over `api`."""
    routes = [Route("/classify", _guarded(api.classify), methods=["POST"])]
    return Starlette(routes=routes, exception_handlers={HTTPException: _http_exception})


def _guarded(handler: Handler) -> Handler:
    """Name every request, and turn every error into its JSON."""

    async def endpoint(request: Request) -> Response:
        request.state.request_id = uuid.uuid4().hex
        try:
            response = await handler(request)
        except Exception as error:  # the edge: whatever went wrong becomes an answer
            response = problem(request, error)
        response.headers["X-Request-Id"] = request.state.request_id
        return response

    return endpoint


async def _http_exception(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    message = error.detail if isinstance(error, HTTPException) else "internal error"
    body: dict[str, Any] = {
        "type": "client_error",
        "code": "method_not_allowed" if status == 405 else "not_found",
        "message": f"{request.method} {request.url.path[:200]}: {message}",
        "request_id": uuid.uuid4().hex,
    }
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    return json_response({"error": body}, status, headers)
