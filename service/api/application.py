"""The routes of the service, with a gate before them, as one ASGI application."""

from functools import partial

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.http.request_guard import RequestGuard
from service.api.web.gate import Gate
from service.errors import QuincunxError


class Application:
    """The routes, a gate before them, and an answer to requests without a route.

    Starlette's own application would put two layers of error handling around every request; the
    request guards leave nothing for them to do.
    """

    def __init__(
        self, routes: list[Route], guard: RequestGuard, oip_guard: RequestGuard, gate: Gate
    ) -> None:
        self._routes = routes
        self._router = Router(routes)
        self._guard = guard
        self._oip_guard = oip_guard
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.through(self._answer, scope, receive, send)

    async def through(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Let `app` answer the requests that pass the gate."""
        try:
            origin = self._gate.admit(scope)
        except QuincunxError as error:
            app, origin = self._guard_of(scope["path"]).refuse(error), None
        else:
            if self._gate.is_preflight(scope):
                app = self._guard.open("preflight", partial(self._preflight, scope))
        await app(scope, receive, self._gate.marking(send, origin))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self  # the router then raises an error instead of answering in its own shape
        try:
            await self._router(scope, receive, send)
        except HTTPException as error:
            await self._guard_of(scope["path"]).refuse(error)(scope, receive, send)

    async def _preflight(self, scope: Scope, _: Request) -> Response:
        found = [route for route in self._routes if route.matches(scope)[0] is not Match.NONE]
        methods = {method for route in found for method in route.methods or ()}
        return Response(status_code=204, headers=self._gate.preflight_headers(methods))

    def refusal(self, path: str, error: QuincunxError) -> Response:
        """The answer to a request that reaches no route."""
        return self._guard_of(path).refusal(path, error)

    def _guard_of(self, path: str) -> RequestGuard:
        return self._oip_guard if _is_oip(path) else self._guard


def _is_oip(path: str) -> bool:
    """Whether errors of `path` have the shape of the Open Inference Protocol."""
    return path == "/v2" or path.startswith("/v2/")
