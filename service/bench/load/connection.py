"""One connection that sends prepared requests and reads only what a load test counts.

The client of a load test often runs on the same machine as the server, and then both compete for
cores. A general HTTP client spends a millisecond of processor time on a request.
"""

import asyncio
import ssl
from dataclasses import dataclass
from functools import cache
from typing import cast
from urllib.parse import urlsplit

import httptools

INFORMATIONAL = range(100, 200)
BODY_LENGTH = frozenset({b"content-length", b"transfer-encoding"})


@dataclass(frozen=True)
class Address:
    """The other end of a connection."""

    host: str
    port: int
    tls: bool


def address_of(url: str) -> Address:
    """The address of an http or https URL."""
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    return Address(parts.hostname or "", parts.port or (443 if tls else 80), tls)


def head(url: str, headers: dict[str, str], body_bytes: int) -> bytes:
    """The head of a `POST` with a body of `body_bytes`, ready to send.

    Raises:
        ValueError: a header that contains a line break.
    """
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = parts.netloc.rpartition("@")[2]
    lines = {"Host": host, "Content-Length": str(body_bytes), **headers}
    if broken := [name for name, value in lines.items() if {"\r", "\n"} & set(name + value)]:
        raise ValueError(f"a header must be one line, but {broken[0]!r} is not")
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {path} HTTP/1.1\r\n{text}\r\n".encode("latin-1")


@cache
def _trusted() -> ssl.SSLContext:
    """Read the machine's certificates, once for all connections, because it takes milliseconds."""
    return ssl.create_default_context()


class Connection(asyncio.Protocol):
    """HTTP/1.1, one request at a time, kept open as long as the server does."""

    def __init__(self) -> None:
        self.open = False
        self._transport: asyncio.Transport | None = None
        self._answered: asyncio.Future[int] | None = None
        self._has_length = False
        self._in_body = False

    @classmethod
    async def to(cls, address: Address) -> "Connection":
        """Connect. Raises OSError if no server listens."""
        context = _trusted() if address.tls else None
        _, connection = await asyncio.get_running_loop().create_connection(
            cls, address.host, address.port, ssl=context
        )
        return connection

    async def exchange(self, request: bytes) -> int:
        """Send a request and read its answer to the end; returns the status.

        Raises:
            ConnectionError: it broke before the end of the answer, or the answer was not HTTP.
        """
        if self._transport is None or not self.open:
            raise ConnectionResetError("the connection is closed")
        self._parser = httptools.HttpResponseParser(self)
        self._in_body = self._has_length = False
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await self._answered
        finally:
            self._answered = None

    def close(self) -> None:
        """Close it now. A pending exchange fails."""
        self.open = False
        if self._transport is not None:
            self._transport.abort()

    # Callbacks of asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.open = True

    def data_received(self, data: bytes) -> None:
        if self._answered is None:  # no request is pending
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionError(f"no HTTP: {error}"))
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if exc is None and self._in_body and not self._has_length:
            self._finish()  # an answer without a length ends with its connection
        else:
            self._fail(ConnectionResetError("closed before the end of the answer"))

    # Callbacks of httptools.

    def on_header(self, name: bytes, _: bytes) -> None:
        self._has_length |= name.lower() in BODY_LENGTH

    def on_headers_complete(self) -> None:
        self._in_body = self._parser.get_status_code() not in INFORMATIONAL

    def on_message_complete(self) -> None:
        if self._in_body:
            if not self._parser.should_keep_alive():
                self.close()
            self._finish()

    def _finish(self) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(self._parser.get_status_code())

    def _fail(self, error: ConnectionError) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(error)
