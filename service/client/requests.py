"""The requests of each method, and the settings of the connection."""

import json
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any, cast
from urllib.parse import quote

import httpx

from service.api.documentation import schemas
from service.api.options import EMBED_OPTIONS
from service.client.answers import Health
from service.client.arguments import form_fields
from service.client.exchange import Call, Send
from service.client.images import Image, check_many, file_bytes
from service.errors import QuincunxError, UsageError
from service.feedback.request import SentAnswer, read_feedback_request
from service.setting_values.key_list import check_key

MODELS = Call("GET", "/models")
MAX_TIMEOUT_S = 31_536_000  # a year; sockets take no timeout beyond some hundred years
PROBES = (Call("GET", "/livez", retried=False), Call("GET", "/readyz", retried=False))


def classify_call(image: Image, options: Mapping[str, Any]) -> Call:
    """`POST /classify`. The options are checked before the image is read."""
    fields = form_fields(options)
    return Call("POST", "/classify", fields, (("image", file_bytes(image)),))


def classify_batch_call(images: Iterable[Image], options: Mapping[str, Any]) -> Call:
    """`POST /classify_batch`."""
    check_many(images)
    fields = form_fields(options)
    files = tuple(("images", file_bytes(one)) for one in images)
    if not files:
        raise UsageError("classify_batch needs at least one image, but got none")
    return Call("POST", "/classify_batch", fields, files)


def embed_call(image: Image, options: Mapping[str, Any]) -> Call:
    """`POST /embed`."""
    fields = form_fields(options, EMBED_OPTIONS)
    return Call("POST", "/embed", fields, (("image", file_bytes(image)),))


def model_call(name: str) -> Call:
    """`GET /models/{name}`.

    Raises:
        UsageError: the name is empty, or a path of its own.
    """
    if name in ("", ".", ".."):
        raise UsageError(f"name must be NAME or NAME@VERSION of a model, but got {name!r}")
    return Call("GET", f"/models/{quote(name, safe='@')}")


def feedback_call(
    answer: schemas.ClassifyAnswer | str,
    label: str | None,
    index: int | None,
    foreign: bool,
    note: str | None,
    image: int,
) -> Call:
    """`POST /feedback`. A complete answer is sent too, in case the server no longer remembers it.

    Raises:
        UsageError: values that do not go together, or that the server would refuse.
    """
    given: dict[str, Any] = {"label": label, "index": index, "note": note}
    body = {name: value for name, value in given.items() if value is not None}
    if isinstance(answer, str):
        body["request_id"] = answer
    elif not isinstance(cast(object, answer), schemas.ClassifyAnswer):
        raise UsageError(
            "answer must be what classify returned, or the id of a request, but got "
            f"{type(answer).__name__}; for one answer of classify_batch send results.request_id "
            "and image, its position"
        )
    elif image:
        raise UsageError(
            f"image must be 0, because classify answers one image, but got {image}; for an answer "
            "of classify_batch send results.request_id and image, its position"
        )
    else:
        body["request_id"] = answer.request_id
        body["answer"] = answer.model_dump(mode="json", include=set(SentAnswer.model_fields))
    body |= {"image": image, "foreign": foreign}
    text = json.dumps(body, default=_plain)
    read_feedback_request(text.encode())
    return Call("POST", "/feedback", json=json.loads(text))


def _plain(value: Any) -> Any:
    """A number or a truth value of NumPy as one of Python."""
    if isinstance(value, Integral):
        return int(value)
    if type(value).__name__ == "bool":  # of NumPy, which the client does not import
        return bool(value)
    raise UsageError(f"feedback cannot hold a {type(value).__name__}: {str(value)[:80]}")


def health_of(
    live: httpx.Response | QuincunxError, ready: httpx.Response | QuincunxError
) -> Health:
    """What the two probes say."""
    errors = [str(one) for one in (live, ready) if isinstance(one, QuincunxError)]
    return Health(
        live=isinstance(live, httpx.Response),
        ready=isinstance(ready, httpx.Response),
        reason=errors[0] if errors else "",
    )


def arguments_of(call: Call, step: Send) -> dict[str, Any]:
    """The arguments of `httpx.Client.request`."""
    files = [(field, (field, data, "application/octet-stream")) for field, data in call.files]
    return {
        "method": call.method,
        "url": call.path,
        "data": call.fields or None,
        "files": files or None,
        "json": call.json,
        "timeout": step.timeout_s,
    }


def settings_of(url: str, key: str | None) -> dict[str, Any]:
    """The arguments of `httpx.Client`.

    Raises:
        UsageError: `url` is not an http or https address, or no header can carry `key`.
    """
    try:
        base = httpx.URL(url)
        base.host.encode("idna")  # as the look-up of the name does: each part has 1 to 63 letters
        right = base.scheme in ("http", "https") and bool(base.host)
        right = right and not (base.query or base.fragment)
    except (httpx.InvalidURL, UnicodeError, TypeError):
        right, base = False, httpx.URL("")
    if not right:
        raise UsageError(f"url must be like http://127.0.0.1:3000, but got {str(url)[:200]!r}")
    if key:
        try:
            check_key(key, "key")
        except ValueError as error:
            raise UsageError(str(error)) from None
    return {"base_url": base, "headers": {"Authorization": f"Bearer {key}".encode()} if key else {}}


def checked_timeout(timeout_s: float) -> float:
    """Raises UsageError unless `timeout_s` is a number from 0 (excluded) to MAX_TIMEOUT_S."""
    value = cast(object, timeout_s)
    seconds = float(value) if not isinstance(value, bool) and isinstance(value, Real) else 0.0
    if not 0 < seconds <= MAX_TIMEOUT_S:
        raise UsageError(
            f"timeout_s must be a positive number of seconds, at most {MAX_TIMEOUT_S:,}, "
            f"but got {value!r}"
        )
    return seconds
