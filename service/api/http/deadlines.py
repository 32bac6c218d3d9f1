"""The deadline that a request sets for itself."""

from starlette.requests import Request

from service.errors import UsageError
from service.number_text import whole_number
from service.settings import Settings


def timeout_of(request: Request, settings: Settings) -> float:
    """The deadline of a request in seconds from now.

    Raises:
        UsageError: the header is not a whole number of milliseconds, or too large.
    """
    limit_ms = settings.request_timeout_ms
    text = request.headers.get("x-request-timeout-ms")
    if text is None:
        return limit_ms / 1000
    asked_ms = whole_number(text, 1, limit_ms)
    if asked_ms is None:
        raise UsageError(
            f"X-Request-Timeout-Ms must be a whole number from 1 to {limit_ms} "
            f"(QUINCUNX_REQUEST_TIMEOUT_MS), but got {text[:40]!r}"
        )
    return asked_ms / 1000
