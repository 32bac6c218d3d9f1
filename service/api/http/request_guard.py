"""Around each handler: give a request its id, check its key, count it, log it, and answer it.

Here, in one place, every error of a handler becomes JSON of one shape.
"""

import logging
import random
import re
import time
from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.http.inflight import Held, Inflight
from service.api.http.keys import Keys
from service.api.http.problems import problem
from service.api.http.rejection_throttle import RejectionThrottle
from service.api.observability.metrics import Metrics
from service.errors import Overloaded, Unauthorized

logger = logging.getLogger("quincunx.request")

Handler = Callable[[Request], Awaitable[Response]]
Render = Callable[[Request, Exception], Response]

SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
CLIENT_CLOSED = 499
# An id only tells requests apart, so it needs no secure randomness. The secure source is a system
# call, in which a worker thread may take the interpreter from the event loop for milliseconds.
_IDS = random.Random()
HEADERS = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))


class RequestGuard:
    """Wraps handlers: ids, keys, errors, metrics and the request log."""

    def __init__(
        self,
        metrics: Metrics,
        user_keys: Keys,
        admin_keys: Keys,
        throttle: RejectionThrottle,
        inflight: Inflight,
        *,
        log: bool,
        render: Render = problem,
    ) -> None:
        self._metrics = metrics
        self._user_keys = user_keys
        self._admin_keys = admin_keys
        self._throttle = throttle
        self._inflight = inflight
        self._log = log
        self._render = render
        """Makes an answer of an error. The Open Inference Protocol has its own shape of errors."""

    def open(self, route: str, handler: Handler) -> ASGIApp:
        """A handler that needs no key."""
        return _Endpoint(self, route, handler, None)

    def keyed(self, route: str, handler: Handler) -> ASGIApp:
        """A handler that needs a key if keys are set."""
        return _Endpoint(self, route, handler, self._user_keys.admit if self._user_keys else None)

    def admin(self, route: str, handler: Handler) -> ASGIApp:
        """A handler that needs an admin key. If none is set, every request is refused."""
        return _Endpoint(self, route, handler, self._admit_admin)

    def refuse(self, error: Exception) -> ASGIApp:
        """An application that answers with `error`, for requests without a route."""

        async def fail(_: Request) -> Response:
            raise error

        return self.open("other", fail)

    def refusal(self, path: str, error: Exception) -> Response:
        """The answer to a request that reaches no handler; it gets an id, is counted and logged."""
        scope: Scope = {"type": "http", "method": "?", "path": path, "query_string": b""}
        request = Request(scope | {"headers": []})
        request.state.request_id = _request_id(request)
        request.state.log = {}
        response = self.failed(request, error)
        self.leave(request, "other", response, 0.0)
        return response

    def _admit_admin(self, request: Request) -> None:
        if not self._admin_keys:
            raise Unauthorized("closed: no admin key is set (QUINCUNX_ADMIN_KEYS)")
        self._admin_keys.admit(request)

    def held(self) -> Held:
        """A new counter for the bytes of one request."""
        return Held(self._inflight)

    def failed(self, request: Request, error: Exception) -> Response:
        """The answer to a request that failed with `error`."""
        if isinstance(error, ClientDisconnect):
            return Response(status_code=CLIENT_CLOSED)  # the client has left
        if isinstance(error, Overloaded):
            self._throttle.refused()
        return self._render(request, error)

    def leave(self, request: Request, route: str, response: Response, seconds: float) -> None:
        """Add the headers of every answer, count the request and log it."""
        there = {name for name, _ in response.raw_headers}
        response.raw_headers += [header for header in HEADERS if header[0] not in there]
        state = request.state
        response.raw_headers.append((b"x-request-id", state.request_id.encode("ascii")))
        self._metrics.request(route, response.status_code, seconds)
        if self._log:
            fields = {
                "request_id": state.request_id,
                "method": request.method,
                "route": route,
                "status": response.status_code,
                "ms": round(seconds * 1000, 3),
                **state.log,
            }
            logger.info("request", extra={"fields": fields})


class _Endpoint:
    """One route, as an ASGI application. Starlette would wrap a function in one more layer.

    Inference empties the caches between two requests, so the memory of each layer is fetched again.
    Under overload the layers take more time than the work in them.
    """

    def __init__(
        self,
        guard: RequestGuard,
        route: str,
        handler: Handler,
        admit: Callable[[Request], None] | None,
    ) -> None:
        self._guard = guard
        self._route = route
        self._handler = handler
        self._admit = admit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        request = Request(scope, receive, send)
        state = request.state
        state.request_id = _request_id(request)
        state.log = {}
        held = state.held = self._guard.held()
        try:
            if self._admit is not None:
                self._admit(request)
            response = await self._handler(request)
        except Exception as error:  # every error becomes an answer
            response = self._guard.failed(request, error)
        finally:
            held.release()
        self._guard.leave(request, self._route, response, time.perf_counter() - started)
        await response(scope, receive, send)


def _request_id(request: Request) -> str:
    """The client's own request id if it is safe to log, else a new one."""
    given = request.headers.get("x-request-id", "")
    return given if SAFE_ID.fullmatch(given) else f"{_IDS.getrandbits(128):032x}"
