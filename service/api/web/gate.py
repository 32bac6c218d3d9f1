"""Which web pages may send requests: checks of `Host` and `Origin`, and CORS.

A browser lets every page send requests to every server, also to one on localhost that only this
machine can reach. Programs send no `Origin`, so the check of origins does not affect them.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from starlette.types import Message, Scope, Send

from service.api.web.hosts import ANY, Hosts
from service.errors import ForeignOrigin, MisdirectedRequest, UsageError

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
OWN_SITES = (b"same-origin", b"none")
ALLOWED_HEADERS = (
    "Authorization, X-API-Key, Content-Type, Content-Encoding, X-Request-Id, X-Request-Timeout-Ms, "
    "Inference-Header-Content-Length"
)
EXPOSED_HEADERS = "X-Request-Id, Retry-After, Inference-Header-Content-Length"
PREFLIGHT_S = 600
DEFAULT_PORTS = {"http": ":80", "https": ":443"}


@dataclass
class _Headers:
    """The headers that the gate reads."""

    hosts: list[bytes]
    origin: str | None = None
    site: bytes | None = None
    forwarded_host: str | None = None
    preflight: bool = False


class Gate:
    """Lets requests of programs and of allowed pages pass. Others are refused."""

    def __init__(self, hosts: Hosts, origins: Iterable[str]) -> None:
        """`origins` are those of CORS: `https://app.example.com`, or `*` for all."""
        self._hosts = hosts
        self._origins = frozenset(origins)

    def admit(self, scope: Scope) -> str | None:
        """The origin whose page may read the answer; None if there is no other page or it may not.

        Raises:
            MisdirectedRequest: the request is for a name that is not one of this server.
            ForeignOrigin: a page of another origin sent it and is not allowed to.
            UsageError: no `Host`, or several.
        """
        headers = _read(scope)
        self._check_host(scope, headers.hosts)
        origin = headers.origin
        if origin is not None and (ANY in self._origins or origin in self._origins):
            return origin
        if headers.preflight or (scope["method"] not in SAFE_METHODS and _is_foreign(headers)):
            raise ForeignOrigin(
                f"a web page of {(origin or 'another site')[:80]!r} may not send requests here "
                "(QUINCUNX_CORS_ORIGINS)"
            )
        return None

    def is_preflight(self, scope: Scope) -> bool:
        """Whether this is a preflight: a browser asks what a page may send."""
        return scope["method"] == "OPTIONS" and _read(scope).preflight

    def preflight_headers(self, methods: Iterable[str]) -> dict[str, str]:
        """Headers that tell a browser what a page may send to a path with these methods."""
        return {
            "Access-Control-Allow-Methods": ", ".join(sorted(methods)),
            "Access-Control-Allow-Headers": ALLOWED_HEADERS,
            "Access-Control-Allow-Private-Network": "true",
            "Access-Control-Max-Age": str(PREFLIGHT_S),
        }

    def marking(self, send: Send, origin: str | None) -> Send:
        """Wrap `send` so that answers have the headers that let pages of `origin` read them."""
        if not self._origins:
            return send
        headers = [] if ANY in self._origins else [(b"vary", b"Origin")]
        if origin is not None:
            allowed = ANY if ANY in self._origins else origin
            headers += [
                (b"access-control-allow-origin", allowed.encode("latin-1")),
                (b"access-control-expose-headers", EXPOSED_HEADERS.encode()),
            ]

        async def mark(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        return mark

    def _check_host(self, scope: Scope, hosts: list[bytes]) -> None:
        if len(hosts) > 1 or (not hosts and scope["http_version"] == "1.1"):
            raise UsageError(f"the request must have one Host header, but has {len(hosts)}")
        host = hosts[0].decode("latin-1") if hosts else ""
        if host and not self._hosts.allows(host):
            raise MisdirectedRequest(
                f"the request is for {host[:80]!r}, which is not a name of this server "
                "(QUINCUNX_ALLOWED_HOSTS)"
            )


def _read(scope: Scope) -> _Headers:
    headers = _Headers([])
    for name, value in scope["headers"]:
        if name == b"host":
            headers.hosts.append(value)
        elif name == b"origin":
            headers.origin = value.decode("latin-1")
        elif name == b"sec-fetch-site":
            headers.site = value
        elif name == b"x-forwarded-host":
            headers.forwarded_host = value.decode("latin-1").partition(",")[0].strip()
        elif name == b"access-control-request-method":
            headers.preflight = scope["method"] == "OPTIONS"
    return headers


def _is_foreign(headers: _Headers) -> bool:
    """Whether a page of another origin sent the request.

    Browsers say so in `Sec-Fetch-Site`, which no page can forge. Over plain HTTP outside localhost
    they do not send it. Then the `Origin` is compared with the name that the request is for. A
    proxy may have replaced that name; `X-Forwarded-Host` has the name that the browser used. A page
    cannot send that header to another origin without a preflight, which is refused.
    """
    if headers.site is not None:
        return headers.site not in OWN_SITES
    if headers.origin is None:
        return False
    scheme, _, authority = headers.origin.partition("://")
    own = [host.decode("latin-1") for host in headers.hosts] + [headers.forwarded_host or ""]
    port = DEFAULT_PORTS.get(scheme, "")
    return authority.removesuffix(port) not in {
        host.lower().removesuffix(port) for host in own if host
    }
