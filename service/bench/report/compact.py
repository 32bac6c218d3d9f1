"""Short forms of the files of a measurement: JSON with few digits and lines, SVG with few decimals.

Seven digits of a time say as much as sixteen: two runs differ in the third. A page made from the
file shows the same numbers as the page made with it.
"""

import json
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import cast

DIGITS = 7
"""Significant digits of a number. The digits before the decimal point always stay."""
LINE_CHARS = 120
SVG_DECIMALS = 2
"""Of coordinates in points, of which 72 are an inch."""

_COORDINATES = re.compile(r'(?<= d=")[^"]+|(?<= [xy]=")[^"]+|(?<=translate\()[^)]+')
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")


def compact_json(value: object) -> str:
    """A JSON document with rounded numbers, and lists of numbers or texts on as few lines as fit.

    Numbers that are not finite become null.
    """
    return _lines(value, "") + "\n"


def _lines(value: object, indent: str) -> str:
    inner = indent + " "
    if isinstance(value, Mapping) and value:
        items = cast("Mapping[str, object]", value).items()
        parts = [f"{json.dumps(str(key))}: {_lines(one, inner)}" for key, one in items]
        return "{\n" + ",\n".join(inner + part for part in parts) + f"\n{indent}}}"
    if isinstance(value, Sequence) and not isinstance(value, str) and value:
        ones = cast("Sequence[object]", value)
        if any(isinstance(one, (Mapping, list, tuple)) for one in ones):
            parts = [inner + _lines(one, inner) for one in ones]
            return "[\n" + ",\n".join(parts) + f"\n{indent}]"
        return _row([_lines(one, "") for one in ones], inner)
    if isinstance(value, float):
        return json.dumps(rounded(value)) if math.isfinite(value) else "null"
    return json.dumps(value)


def _row(parts: list[str], indent: str) -> str:
    """A list on one line, or on several if it is long and no text in it has a space."""
    line = f"[{', '.join(parts)}]"
    if len(line) <= LINE_CHARS or any(" " in part for part in parts):
        return line
    words = ", ".join(parts)
    wrapped = textwrap.fill(words, LINE_CHARS, break_long_words=False, break_on_hyphens=False)
    return "[\n" + wrapped.replace(", ", ",") + f"\n{indent[1:]}]"


def rounded(value: float) -> float:
    """`value` with DIGITS significant digits, and all digits before the decimal point."""
    if not value or not math.isfinite(value):
        return value
    return round(value, max(0, DIGITS - 1 - math.floor(math.log10(abs(value)))))


def compact_svg(text: str) -> str:
    """An SVG document whose coordinates have two decimals. Scales keep all of theirs."""

    def shorter(found: re.Match[str]) -> str:
        return _LONG_NUMBER.sub(lambda one: f"{round(float(one[0]), SVG_DECIMALS):g}", found[0])

    lines = _COORDINATES.sub(shorter, text).splitlines()
    return "\n".join(line.rstrip() for line in lines) + "\n"
