"""Class names as captions of pictures and plots."""

from typing import Any

from service.console.text import shown

NO_MATHS: dict[str, Any] = {"parse_math": False}
"""For matplotlib's texts: a `$` in a class name is a character and begins no formula."""


def caption(name: str, most: int) -> str:
    """At most `most` characters of a class name, without control characters."""
    text = shown(name)
    return text if len(text) <= most else f"{text[: most - 1]}…"
