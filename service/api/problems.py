"""Errors as HTTP answers: `{"error": {"type", "code", "message", "request_id"}}`."""

import logging
import math
import re

from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from service.errors import ClientError, Overloaded, QuincunxError, ServerError, Unauthorized

logger = logging.getLogger("quincunx.api")

GENERIC = "the server failed; the operator finds the reason in the log under this request_id"


def code_of(error: Exception) -> str:
    """`BadImage` -> `bad_image`: the name of the error, for programs."""
    if not isinstance(error, QuincunxError):
        return "internal_error"
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).lower()


def describe(error: Exception, request_id: str) -> dict[str, str]:
    """The body of an error: the message of a client's error, a generic one for the server's."""
    known = isinstance(error, ClientError) or (
        isinstance(error, ServerError) and error.status in (503, 504)
    )
    return {
        "type": "client_error" if isinstance(error, ClientError) else "server_error",
        "code": code_of(error),
        "message": str(error) if known else GENERIC,
        "request_id": request_id,
    }


def status_of(error: Exception) -> int:
    return error.status if isinstance(error, QuincunxError) else 500


def problem(request: Request, error: Exception) -> Response:
    """Answer with `error`; what is the server's fault is logged with its traceback."""
    request_id: str = request.state.request_id
    status = status_of(error)
    if status == 500:
        logger.error("request failed", exc_info=error, extra={"request_id": request_id})
    headers: dict[str, str] = {}
    if isinstance(error, Overloaded):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    return json_response({"error": describe(error, request_id)}, status, headers)


def json_response(
    content: object, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """JSON, written by pydantic's serializer: twice as fast as the standard library's."""
    return Response(to_json(content), status, headers, media_type="application/json")
