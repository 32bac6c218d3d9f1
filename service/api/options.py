"""The options of a request: those of an image, and those of its answer."""

import json
from collections.abc import Mapping
from functools import lru_cache
from numbers import Integral
from typing import Annotated, Any, Literal, get_args
from urllib.parse import parse_qsl

from annotated_types import Ge, Le
from pydantic import BeforeValidator, Field, Strict

from service.errors import UsageError
from service.inference.option_text import AsText, no_option, read_text
from service.inference.options import Options

Include = Literal["views", "heatmap", "timing", "embedding"]
INCLUDES: tuple[Include, ...] = get_args(Include)
MAX_TOP_K = 1000
MAX_QUERY_OPTIONS = 32
KEPT_QUERY_BYTES = 256
"""Options of queries up to this length are kept."""
MAX_OPTION_CHARS = 8192
"""The most characters of one value: enough for all boxes of a request, with all digits."""


def _includes(name: str, text: str) -> frozenset[str]:
    asked = [part.strip() for part in text.split(",") if part.strip()]
    for part in asked:
        if part not in INCLUDES:
            raise UsageError(f"{name} takes {', '.join(INCLUDES)}, but got {part[:80]!r}")
    return frozenset(asked)


def _whole(value: Any) -> Any:
    """Whole numbers of NumPy are whole numbers too."""
    return value if isinstance(value, bool) or not isinstance(value, Integral) else int(value)


class RequestOptions(Options):
    """The options of one request.

    Raises:
        UsageError: an unknown option, or a value of a wrong type or out of bounds.
    """

    top_k: Annotated[int, Strict(), Ge(1), Le(MAX_TOP_K), BeforeValidator(_whole)] = Field(
        default=5, description="How many of the likeliest classes to answer with"
    )
    include: Annotated[frozenset[Include], AsText(_includes, example=",".join(INCLUDES))] = Field(
        default=frozenset(),
        description=f"More in the answer, separated by commas: {', '.join(INCLUDES)}",
    )
    heatmap: Literal["png", "numbers"] = Field(
        default="png", description="The form of the heat map"
    )
    model: str | None = Field(
        default=None, description="NAME or NAME@VERSION; by default the first one served"
    )


FIELDS = RequestOptions.model_fields
EMBED_OPTIONS = frozenset(("tta", "boxes", "gate_cost", "model"))
"""The options that an embedding depends on: those of `/embed`."""


def query_options(query_string: bytes) -> list[tuple[str, str]]:
    """Split a query string, for `read_options`.

    Raises:
        UsageError: there are more options than Quincunx has.
    """
    count = query_string.count(b"&") + 1
    if count > MAX_QUERY_OPTIONS:
        raise UsageError(f"the query has {count} options; the limit is {MAX_QUERY_OPTIONS}")
    # Some clients send UTF-8 without percent-encoding it.
    return parse_qsl(query_string.decode("utf-8", "replace"), keep_blank_values=True)


def read_options(query: list[tuple[str, str]], form: Mapping[str, str]) -> RequestOptions:
    """Read the options of a request.

    Raises:
        UsageError: an unknown name, a name given twice, or a value that does not fit.
    """
    given: dict[str, str] = {}
    for name, value in [*query, *form.items()]:
        if name not in FIELDS:
            raise no_option(name, FIELDS)
        if name in given:
            raise UsageError(f"the option {name!r} is given twice")
        if len(value) > MAX_OPTION_CHARS:
            raise UsageError(
                f"the option {name!r} has {len(value)} characters; the limit is {MAX_OPTION_CHARS}"
            )
        given[name] = value
    plain = {name: _plain(text) for name, text in given.items()}
    values: dict[str, Any] = {
        name: read_text(name, text, FIELDS) for name, text in plain.items() if text
    }
    return RequestOptions(**values)


def options_in(query_string: bytes, form: Mapping[str, str]) -> RequestOptions:
    """Read the options of a request from its query and its form; see `read_options`.

    Most requests have the same short query and no form: their options are read once.
    """
    if not form and len(query_string) <= KEPT_QUERY_BYTES:
        return _kept_options(query_string)
    return read_options(query_options(query_string), form)


@lru_cache(256)
def _kept_options(query_string: bytes) -> RequestOptions:
    return read_options(query_options(query_string), {})


def _plain(text: str) -> str:
    """Undo JSON: BentoML's client sends `"five_crop"` quoted, a list in brackets, None as null."""
    text = text.strip()
    if text == "null":
        return ""
    if text[:1] in ('"', "["):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return text
        if isinstance(value, str):
            return value
        if all(isinstance(item, str) for item in value):
            return ",".join(value)
    return text
