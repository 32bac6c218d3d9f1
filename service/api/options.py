"""What a request may choose, from its query and its form fields."""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, get_args
from urllib.parse import parse_qsl

from service.api.http.numbers import decimal_number, whole_number
from service.errors import UsageError
from service.inference.image.geometry import FractionBox
from service.inference.tta.planner import MAX_CUSTOM_BOXES
from service.inference.tta.steps import Options
from service.package.manifest import Aggregation, Mode

INCLUDES = ("views", "heatmap", "timing")
MAX_TOP_K = 1000
MAX_QUERY_OPTIONS = 32
MAX_OPTION_CHARS = 8192
"""Characters of one value: enough for every box that a request may name, with all its digits."""


@dataclass(frozen=True)
class Asked:
    """The options of one request, as they were asked for."""

    tta: Mode | None = None
    """None: the model's own default."""
    aggregate: Aggregation = "mean"
    top_k: int = 5
    coverage: float | None = None
    gate_cost: float | None = None
    boxes: tuple[FractionBox, ...] = ()
    include: frozenset[str] = frozenset()
    heatmap: str = "png"
    model: str | None = None

    def options(self, tta: Mode) -> Options:
        """What the inference library is told, in mode `tta`."""
        gate_cost = self.gate_cost if tta == "adaptive" else None
        return Options(tta, self.aggregate, self.coverage, gate_cost, self.boxes)


def query_options(query_string: bytes) -> list[tuple[str, str]]:
    """Split a query string, for `read_options`.

    Raises:
        UsageError: more options than there are.
    """
    count = query_string.count(b"&") + 1
    if count > MAX_QUERY_OPTIONS:
        raise UsageError(f"the query has {count} options; the limit is {MAX_QUERY_OPTIONS}")
    # Some clients send UTF-8 without percent-encoding it.
    return parse_qsl(query_string.decode("utf-8", "replace"), keep_blank_values=True)


def read_options(query: list[tuple[str, str]], form: Mapping[str, str]) -> Asked:
    """Read the options of a request.

    Raises:
        UsageError: an unknown name, a name given twice, or a value that does not fit.
    """
    given: dict[str, str] = {}
    for name, value in [*query, *form.items()]:
        if name not in READERS:
            raise no_option(name)
        if name in given:
            raise UsageError(f"the option {name!r} is given twice")
        if len(value) > MAX_OPTION_CHARS:
            raise UsageError(
                f"the option {name!r} has {len(value)} characters; the limit is {MAX_OPTION_CHARS}"
            )
        given[name] = value
    values: dict[str, Any] = {}
    for name, text in given.items():
        plain = _plain(text)
        if plain:
            values[name] = READERS[name](name, plain)
    return Asked(**values)


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


def _choice(choices: tuple[str, ...]) -> Any:
    def read(name: str, text: str) -> str:
        if text not in choices:
            raise UsageError(f"{name} must be one of {', '.join(choices)}, but got {text[:80]!r}")
        return text

    return read


def _number(low: float, high: float) -> Any:
    def read(name: str, text: str) -> float:
        value = decimal_number(text)
        if value is None:
            raise UsageError(f"{name} must be a number, but got {text[:80]!r}")
        if not low <= value <= high:
            raise UsageError(f"{name} must be from {low:g} to {high:g}, but got {text[:80]}")
        return value

    return read


def _whole(low: int, high: int) -> Any:
    def read(name: str, text: str) -> int:
        value = whole_number(text, low, high)
        if value is None:
            raise UsageError(
                f"{name} must be a whole number from {low} to {high}, but got {text[:80]!r}"
            )
        return value

    return read


def _includes(name: str, text: str) -> frozenset[str]:
    asked = [part.strip() for part in text.split(",") if part.strip()]
    for part in asked:
        if part not in INCLUDES:
            raise UsageError(f"{name} takes {', '.join(INCLUDES)}, but got {part[:80]!r}")
    return frozenset(asked)


def _boxes(name: str, text: str) -> tuple[FractionBox, ...]:
    """`left,top,right,bottom[,flip]` as fractions of the image, separated by semicolons."""
    if text.count(";") > MAX_CUSTOM_BOXES:
        raise UsageError(
            f"{name} has over {text.count(';')} boxes; the limit is {MAX_CUSTOM_BOXES}"
        )
    boxes: list[FractionBox] = []
    for item in filter(None, text.split(";")):
        edges, flip = item.strip(), False
        if edges.endswith(",flip"):
            edges, flip = edges.removesuffix(",flip"), True
        sides = [decimal_number(edge.strip()) for edge in edges.split(",")]
        known = [side for side in sides if side is not None]
        if len(sides) != 4 or len(known) != 4:
            raise UsageError(
                f"{name} must be left,top,right,bottom[,flip] separated by ';', "
                f"but got {item[:80]!r}"
            )
        left, top, right, bottom = known
        boxes.append(FractionBox(left, top, right, bottom, flip))
    return tuple(boxes)


def _text(_: str, text: str) -> str:
    return text


READERS: dict[str, Any] = {
    "tta": _choice(get_args(Mode)),
    "aggregate": _choice(get_args(Aggregation)),
    "top_k": _whole(1, MAX_TOP_K),
    "coverage": _number(0.0, 1.0),
    "gate_cost": _number(0.0, 100.0),
    "boxes": _boxes,
    "include": _includes,
    "heatmap": _choice(("png", "numbers")),
    "model": _text,
}

if set(READERS) != {item.name for item in fields(Asked)}:
    raise RuntimeError("every option needs a reader")


def no_option(name: str) -> UsageError:
    """The error that names the nearest option there is."""
    short = name[:80]
    close = difflib.get_close_matches(short, READERS, n=1, cutoff=0.5)
    known = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(READERS)}"
    return UsageError(f"no option {short!r}; {known}")
