"""The network of `Client`: every wait ends at the deadline of the call.

The timeouts of httpx bound each wait, and not their sum. A server that sends one byte from time to
time would hold a call without end.
"""

import importlib.util
import socket
import threading
import time
import urllib.request
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from ssl import SSLContext
from typing import Any

import httpcore
import httpx

from service.errors import UsageError

MAX_CONNECTIONS = 100
MAX_IDLE_CONNECTIONS = 20
IDLE_S = 5.0
"""The three are the limits of `httpx.Client`."""

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


@contextmanager
def until(deadline: float) -> Generator[None]:
    """Let every wait of this thread's connections end at `deadline`, an instant of the clock."""
    token = _deadline.set(deadline)
    try:
        yield
    finally:
        _deadline.reset(token)


def _left(timeout: float | None, error: type[httpcore.TimeoutException]) -> float | None:
    """The seconds that a wait may take: up to `timeout`, and up to the deadline."""
    deadline = _deadline.get()
    if deadline is None:
        return timeout
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise error("the time of the call is over")
    return left_s if timeout is None else min(left_s, timeout)


class _Stream(httpcore.NetworkStream):
    """A connection that asks before each wait how much time is left."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left_s = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, left_s))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore.SyncBackend):
    """Connects within the time that is left, whatever the number of addresses of the host."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = _addresses(host, port, _left(timeout, httpcore.ConnectTimeout))
        options = list(socket_options or ())
        failed: httpcore.ConnectError | httpcore.ConnectTimeout | None = None
        for position, address in enumerate(addresses):
            left_s = _left(timeout, httpcore.ConnectTimeout)
            # An address that does not answer must leave time for the next one.
            share_s = None if left_s is None else left_s / (len(addresses) - position)
            try:
                return _Stream(super().connect_tcp(address, port, share_s, local_address, options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed or httpcore.ConnectError(f"{host} has no address")


def _addresses(host: str, port: int, limit_s: float | None) -> list[str]:
    """The addresses of a host. The look-up has no timeout, so it runs in a thread of its own."""
    found: Future[list[str]] = Future()

    def look_up() -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.set_result([str(address[0]) for *_, address in answers])
        except Exception as error:
            found.set_exception(error)

    threading.Thread(target=look_up, name="look-up", daemon=True).start()
    try:
        return list(dict.fromkeys(found.result(limit_s)))
    except TimeoutError as error:
        raise httpcore.ConnectTimeout(f"the look-up of {host} is slow") from error
    except (OSError, ValueError) as error:
        raise httpcore.ConnectError(f"{host}: {error}") from error


class _Body(httpx.SyncByteStream):
    """The body of an answer."""

    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        with _as_httpx():
            yield from self._response.iter_stream()

    def close(self) -> None:
        with _as_httpx():
            self._response.close()


@contextmanager
def _as_httpx() -> Generator[None]:
    """Errors of httpcore as those of httpx, which have the same names."""
    try:
        yield
    except (
        httpcore.TimeoutException,
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.ProxyError,
        httpcore.UnsupportedProtocol,
    ) as error:
        raise getattr(httpx, type(error).__name__)(str(error)) from error


class Network(httpx.BaseTransport):
    """What `httpx.HTTPTransport` does, over connections that know the deadline."""

    def __init__(self, url: httpx.URL) -> None:
        """`url` is the address of the server. A proxy is used as the environment says.

        Raises:
            UsageError: the proxy cannot be used.
        """
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            proxy=_proxy(url),
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=MAX_IDLE_CONNECTIONS,
            keepalive_expiry=IDLE_S,
            network_backend=_Backend(),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        with _as_httpx():
            response = self._pool.handle_request(
                httpcore.Request(
                    request.method,
                    httpcore.URL(
                        scheme=url.raw_scheme,
                        host=url.raw_host,
                        port=url.port,
                        target=url.raw_path,
                    ),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx.Response(response.status, headers=response.headers, stream=_Body(response))

    def close(self) -> None:
        self._pool.close()


def _proxy(url: httpx.URL) -> httpcore.Proxy | None:
    """The proxy for a server: HTTP_PROXY, HTTPS_PROXY or ALL_PROXY, unless NO_PROXY names it."""
    named = urllib.request.getproxies()
    address = named.get(url.scheme) or named.get("all")
    if not address or urllib.request.proxy_bypass(url.netloc.decode("ascii")):
        return None
    try:
        proxy = httpx.Proxy(address if "://" in address else f"http://{address}")
    except (ValueError, httpx.InvalidURL) as error:
        raise UsageError(f"the proxy of the environment cannot be used: {error}") from None
    if proxy.url.scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
        raise UsageError(
            "the environment names a SOCKS proxy, which needs socksio: pip install 'httpx[socks]'"
        )
    return httpcore.Proxy(str(proxy.url), auth=proxy.raw_auth, headers=proxy.headers.raw)
