"""The edge: every request gets an id, is let in or not, is counted and logged, and answered.

Whatever goes wrong behind it becomes one JSON shape, once, here.
"""

import logging
import random
import re
import time
from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from service.api.keys import Keys
from service.api.metrics import Metrics
from service.api.problems import problem
from service.errors import Unauthorized

logger = logging.getLogger("quincunx.request")

Handler = Callable[[Request], Awaitable[Response]]
Render = Callable[[Request, Exception], Response]

SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
CLIENT_CLOSED = 499
# An id tells requests apart and guards nothing. The system's randomness would be a system call, at
# which the event loop hands the interpreter to a worker for milliseconds.
_IDS = random.Random()
HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


class Edge:
    """What stands between the routes and their handlers."""

    def __init__(
        self,
        metrics: Metrics,
        user_keys: Keys,
        admin_keys: Keys,
        *,
        log: bool,
        render: Render = problem,
    ) -> None:
        self._metrics = metrics
        self._user_keys = user_keys
        self._admin_keys = admin_keys
        self._log = log
        self._render = render
        """How an error becomes an answer; the Open Inference Protocol has a shape of its own."""

    def open(self, route: str, handler: Handler) -> Handler:
        """For everybody."""
        return self._wrap(route, handler, None)

    def keyed(self, route: str, handler: Handler) -> Handler:
        """For holders of a key, where keys are set."""
        return self._wrap(route, handler, self._user_keys.admit if self._user_keys else None)

    def admin(self, route: str, handler: Handler) -> Handler:
        """For holders of an admin key; closed where none is set."""
        return self._wrap(route, handler, self._admit_admin)

    async def unknown(self, request: Request, error: Exception) -> Response:
        """Answer for a path or a method that is none of ours."""

        async def refuse(_: Request) -> Response:
            raise error

        response = await self.open("other", refuse)(request)
        if isinstance(error, HTTPException):
            response.headers.update(error.headers or {})
        return response

    def _admit_admin(self, request: Request) -> None:
        if not self._admin_keys:
            raise Unauthorized("closed: no admin key is set (QUINCUNX_ADMIN_KEYS)")
        self._admin_keys.admit(request)

    def _wrap(
        self, route: str, handler: Handler, admit: Callable[[Request], None] | None
    ) -> Handler:
        async def endpoint(request: Request) -> Response:
            started = time.perf_counter()
            request.state.request_id = _request_id(request)
            request.state.log = {}
            try:
                if admit is not None:
                    admit(request)
                response = await handler(request)
            except ClientDisconnect:
                response = Response(status_code=CLIENT_CLOSED)  # nobody is there to read it
            except Exception as error:  # the edge: whatever went wrong becomes an answer
                response = self._render(request, error)
            response.headers["X-Request-Id"] = request.state.request_id
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
            seconds = time.perf_counter() - started
            self._metrics.request(route, response.status_code, seconds)
            if self._log:
                _write_log(request, route, response.status_code, seconds)
            return response

        return endpoint


def _request_id(request: Request) -> str:
    """The sender's own id where it is harmless, else a fresh one."""
    given = request.headers.get("x-request-id", "")
    return given if SAFE_ID.fullmatch(given) else f"{_IDS.getrandbits(128):032x}"


def _write_log(request: Request, route: str, status: int, seconds: float) -> None:
    fields = {
        "request_id": request.state.request_id,
        "method": request.method,
        "route": route,
        "status": status,
        "ms": round(seconds * 1000, 3),
        **request.state.log,
    }
    logger.info("request", extra={"fields": fields})
