"""The transport on a port of its own, with a small application behind it, and raw sockets."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.server import ServerState

from service.api.http.inflight import Inflight
from service.api.transport import Connection, Connections, Limits
from service.errors import QuincunxError
from service.settings import Settings
from tests.support.waiting import until

LIMIT_S = 60.0
LOOPS = [
    pytest.param(("asyncio", {"use_uvloop": uvloop}), id="uvloop" if uvloop else "asyncio")
    for uvloop in (False, True)
]
"""Values of `anyio_backend`: the event loops that the transport runs on."""
CLOSE = b"Connection: close\r\n"
GET = b"GET /a HTTP/1.1\r\nHost: x\r\n"


@dataclass
class Wire:
    """A server, and what it saw."""

    port: int
    state: ServerState
    others: Connections
    inflight: Inflight
    reasons: list[str]
    """Of connections that the server ended."""
    seen: list[tuple[str, str, int]] = field(default_factory=list[tuple[str, str, int]])
    """Method, path and bytes of the body of each request."""
    gone: int = 0
    """Requests whose client went away."""
    go: asyncio.Event = field(default_factory=asyncio.Event)
    """Lets `/wait` answer."""

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        path = request.url.path
        try:
            size = 0 if path == "/early" else len(await request.body())
        except ClientDisconnect:
            self.gone += 1
            return
        if path == "/wait":
            await self.go.wait()
        self.seen.append((request.method, path, size))
        body = b"x" * int(path[5:]) if path.startswith("/big/") else f"{path} {size};".encode()
        await Response(body, 401 if path == "/early" else 200)(scope, receive, send)

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def say(self, *pieces: bytes, eof: bool = False) -> bytes:
        """Send `pieces`, each in a packet of its own; all that comes until the server closes."""
        reader, writer = await self.open()
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if eof:
            writer.write_eof()
        try:
            return await asyncio.wait_for(reader.read(), LIMIT_S)
        finally:
            writer.close()

    async def until_alone(self) -> None:
        """Wait until no connection is left."""
        await until(lambda: not self.state.connections)


@asynccontextmanager
async def wired(**settings: Any) -> AsyncIterator[Wire]:
    """Serve with `settings` until the block ends."""
    chosen = Settings.model_validate({"max_connections": 100, **settings})
    inflight, reasons = Inflight(chosen.most_inflight_bytes), list[str]()

    def refusal(path: str, error: QuincunxError) -> Response:
        body = json.dumps({"path": path, "error": str(error)})
        return Response(body, error.status, media_type="application/json")

    others = Connections(Limits.of(chosen), inflight, refusal=refusal, closed=reasons.append)

    class Tested(Connection):
        pass

    Tested.others = others
    wire = Wire(0, ServerState(), others, inflight, reasons)
    config = Config(
        wire.app, http=Tested, log_config=None, lifespan="off", access_log=False, interface="asgi3"
    )
    config.load()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Tested(config, wire.state, {}, loop), "127.0.0.1", 0)
    wire.port = server.sockets[0].getsockname()[1]
    try:
        yield wire
    finally:
        wire.go.set()
        server.close()
        for connection in list(wire.state.connections):
            connection.shutdown()
            connection.transport.abort()
        await wire.until_alone()
        await server.wait_closed()


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", answer)]


def refused(answer: bytes, status: int) -> dict[str, str]:
    assert statuses(answer) == [status]
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head
    return json.loads(body)


def post(body: bytes, more: bytes = b"", path: bytes = b"/b", *, chunked: bool = False) -> bytes:
    head = b"POST " + path + b" HTTP/1.1\r\nHost: x\r\n" + more
    if not chunked:
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    pieces = [body[i : i + 7] for i in range(0, len(body), 7)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
