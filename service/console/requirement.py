"""What pydantic finds wrong with a value, in the words of our messages."""

from collections.abc import Mapping
from typing import Any

KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "string": "text"}
LIMITS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def requirement(error: Mapping[str, Any]) -> str:
    """What the value must be, such as ``must be at least 1``.

    `error` is an item of `ValidationError.errors()`. Of a kind that is not known here it is
    pydantic's own message.
    """
    kind, context = str(error["type"]), error.get("ctx", {})
    if kind in LIMITS:
        key, words = LIMITS[kind]
        limit = context[key]
        return f"must be {words} {f'{limit:g}' if isinstance(limit, float) else limit}"
    if kind == "literal_error":
        values = str(context["expected"]).replace("'", "").replace(" or ", ", ")
        return f"must be one of {values}"
    name, _, problem = kind.partition("_")
    if name in KINDS and problem in ("type", "parsing", "parsing_size", "from_float"):
        return f"must be {KINDS[name]}"
    return str(error["msg"]).removeprefix("Value error, ")
