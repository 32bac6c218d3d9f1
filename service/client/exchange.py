"""One call to the server, with its retries, as a generator that neither sends nor sleeps.

`Client` and `AsyncClient` do what it yields, so that both follow the same rules.
"""

import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import httpx

from service.client.failures import DEFAULT_RETRY_S, error_of, retry_after_s
from service.errors import DeadlineExceeded, Unreachable

RETRIED = (429, 503)
"""The server did no work for the request, and may have room for it later."""
JITTER = 0.25
"""Each wait is longer by a random share of up to this, so that clients do not return together."""


@dataclass(frozen=True)
class Call:
    """A request of the API."""

    method: str
    path: str
    fields: dict[str, str] = field(default_factory=dict[str, str])
    files: tuple[tuple[str, bytes], ...] = ()
    """Pairs of a field and the bytes of a file."""
    retried: bool = True
    json: dict[str, Any] | None = None
    """The body, if it is JSON."""


@dataclass(frozen=True)
class Send:
    """Send the request; answer with the response or with the httpx error."""

    timeout_s: float


@dataclass(frozen=True)
class Wait:
    """Sleep."""

    seconds: float


Exchange = Generator[Send | Wait, httpx.Response | httpx.HTTPError | None, httpx.Response]


def exchange(
    call: Call,
    url: str,
    timeout_s: float,
    clock: Callable[[], float] = time.monotonic,
    draw: Callable[[], float] = random.random,
    begun: float | None = None,
) -> Exchange:
    """Send until the server answers with neither 429 nor 503, within `timeout_s` seconds.

    A request whose connection breaks before the answer is sent once more: the server may have
    closed an idle connection at this moment. Requests may be repeated: of feedback the latest
    counts, and the others change nothing.

    The seconds count from `begun`, an instant of the clock; None: from now.

    Raises:
        QuincunxError: the error of the last answer; `Overloaded` or a 503 where the server asks to
            wait beyond the deadline.
        DeadlineExceeded: no answer came in time.
        Unreachable: no server answers at this address.
    """
    deadline = (clock() if begun is None else begun) + timeout_s
    broken = False
    while True:
        got = yield Send(max(deadline - clock(), 0.001))
        if isinstance(got, httpx.TimeoutException):
            raise DeadlineExceeded(
                f"{url} did not answer within {timeout_s:g} s (timeout_s)"
            ) from got
        if _broke(got) and not broken:
            broken = True
            continue
        if isinstance(got, httpx.HTTPError):
            raise Unreachable(f"no answer from {url}: {got or type(got).__name__}") from got
        assert got is not None  # noqa: S101  (the answer to a Send)
        if got.is_success:
            return got
        if not call.retried or got.status_code not in RETRIED:
            raise error_of(got)
        wait_s = retry_after_s(got)
        wait_s = (DEFAULT_RETRY_S if wait_s is None else wait_s) * (1 + JITTER * draw())
        if clock() + wait_s >= deadline:
            raise error_of(got)
        yield Wait(wait_s)


def _broke(got: httpx.Response | httpx.HTTPError | None) -> bool:
    """Whether the connection ended before the first byte of the answer."""
    if isinstance(got, httpx.RemoteProtocolError):  # an answer that is no HTTP is one, too
        return "disconnected without sending" in str(got)
    return isinstance(got, (httpx.ReadError, httpx.WriteError))
