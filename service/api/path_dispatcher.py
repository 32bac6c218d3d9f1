"""Choose between our application and BentoML's by the path of a request."""

from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.application import Application

SCHEMA_PATH = "/schema.json"
"""The path that BentoML's clients read first. BentoML answers it, and nothing else."""


class PathDispatcher:
    """ASGI middleware: our application answers every request but `GET /schema.json`."""

    http: Application | None = None
    """Our application. BentoML makes the middleware; the service sets this when it starts."""

    def __init__(self, app: ASGIApp) -> None:
        """`app` is BentoML's application."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        http = PathDispatcher.http
        if scope["type"] != "http" or http is None:
            await self.app(scope, receive, send)
        elif scope["path"] == SCHEMA_PATH and scope["method"] in ("GET", "HEAD"):
            await http.through(self.app, scope, receive, send)
        else:
            await http(scope, receive, send)
