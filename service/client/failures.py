"""Answers of errors, as the errors of `service.errors`."""

import json
import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from service.errors import (
    ClientError,
    Overloaded,
    QuincunxError,
    ServerError,
    Unreachable,
    code_name,
)

DEFAULT_RETRY_S = 1.0
"""Seconds until the next try where the server names no time."""


def shown_url(url: httpx.URL) -> str:
    """The address for messages, without a user name and a password."""
    return str(url.copy_with(userinfo=b""))


def _tree(root: type[QuincunxError]) -> Iterator[type[QuincunxError]]:
    for child in root.__subclasses__():
        yield child
        yield from _tree(child)


def error_of(response: httpx.Response) -> QuincunxError:
    """The error that an answer reports."""
    try:
        detail = json.loads(response.content)["error"]
        body = {key: str(detail[key]) for key in ("code", "message", "request_id")}
    except (ValueError, KeyError, TypeError):
        return Unreachable(
            f"{shown_url(response.request.url)} answered {response.status_code}, and not as "
            "Quincunx does; is this the right address?"
        )
    return error_from(
        response.status_code, body["code"], body["message"], body["request_id"],
        retry_after_s(response) or DEFAULT_RETRY_S,
    )  # fmt: skip


def error_from(
    status: int, code: str, message: str, request_id: str, retry_s: float = DEFAULT_RETRY_S
) -> QuincunxError:
    """The error of the class that `code` names, or else of the first class with this status."""
    if status >= 500 and request_id:
        message = f"{message} (request_id {request_id})"
    served = [*_tree(ClientError), *_tree(ServerError)]
    named = [kind for kind in served if code_name(kind) == code]
    alike = [kind for kind in served if kind.status == status]
    general = ClientError if status < 500 else ServerError
    kind = [*named, *alike, general][0]
    if kind is Overloaded:
        return Overloaded(message, retry_s)
    return kind(message)


def retry_after_s(response: httpx.Response) -> float | None:
    """The seconds of Retry-After, which is a number or a date. None: there is no such header."""
    text = response.headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    seconds = (at - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None
