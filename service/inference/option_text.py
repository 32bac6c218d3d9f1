"""Options as text, from a query, a form or a command line, read by the fields of a model."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import GetJsonSchemaHandler, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema

from service.console.nearest import did_you_mean, with_hint
from service.errors import UsageError
from service.inference.image.geometry import FractionBox
from service.inference.tta.planner import MAX_CUSTOM_BOXES
from service.number_text import decimal_number, whole_number

Fields = Mapping[str, FieldInfo]


@dataclass(frozen=True)
class AsText:
    """Marks a field with a text form: how the text is read, and an example."""

    read: Callable[[str, str], Any]
    """(name, text) -> value; raises UsageError."""
    example: str

    def __get_pydantic_json_schema__(
        self, _: CoreSchema, __: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "examples": [self.example]}


def read_text(name: str, text: str, fields: Fields) -> Any:
    """The value that `text` gives the option `name`.

    Numbers are strict: see `service.number_text`. The model itself checks words and bounds.

    Raises:
        UsageError: no such option, or text that is not a value of it.
    """
    field = fields.get(name)
    if field is None:
        raise no_option(name, fields)
    if (mark := as_text(field)) is not None:
        return mark.read(name, text)
    kind = kind_of(field)
    if kind is int:
        value = whole_number(text, *bounds_of(field))
        if value is None:
            raise UsageError(f"{name} must be {_allowed(field)}, but got {text[:80]!r}")
        return value
    if kind is float:
        number = decimal_number(text)
        if number is None:
            raise UsageError(f"{name} must be a number, but got {text[:80]!r}")
        return number
    return text


def kind_of(field: FieldInfo) -> Any:
    """The type of a field's value, without None and without marks."""
    return _unwrapped(field)[0]


def text_kind_of(field: FieldInfo) -> Any:
    """The type that a client sends for a field: a word, a number, or text."""
    return kind_of(field) if as_text(field) is None else str


def as_text(field: FieldInfo) -> AsText | None:
    """How the text of a field is read; None for a word or a number."""
    return next((mark for mark in _unwrapped(field)[1] if isinstance(mark, AsText)), None)


def bounds_of(field: FieldInfo) -> tuple[Any, Any]:
    """The least and the greatest value of a number; None if there is no bound."""
    marks = _unwrapped(field)[1]
    low = next((mark.ge for mark in marks if isinstance(mark, Ge)), None)
    high = next((mark.le for mark in marks if isinstance(mark, Le)), None)
    return low, high


def _unwrapped(field: FieldInfo) -> tuple[Any, list[Any]]:
    """`Annotated[KIND, *MARKS] | None` -> (KIND, MARKS); the marks of the field too."""
    kind, marks = field.annotation, list(field.metadata)
    if get_origin(kind) in (Union, UnionType):
        kind = get_args(kind)[0]  # the second one is None
    if get_origin(kind) is Annotated:
        kind, *more = get_args(kind)
        marks += more
    return kind, marks


def explain(error: ValidationError, fields: Fields) -> str:
    """One sentence about the first error: the option, the values that it takes, and the value."""
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else "options"
    if first["type"] == "extra_forbidden":
        return str(no_option(name, fields))
    value = first["input"]
    got = shown(value)
    if first["type"] in ("literal_error", "greater_than_equal", "less_than_equal"):
        got = repr(_brief(value)) if isinstance(value, str) else _brief(value)
    message = f"{name} must be {_allowed(fields[name])}, but got {got}"
    if first["type"] == "literal_error" and isinstance(value, str):
        return with_hint(message, value, _words(fields[name]))
    return message


def _words(field: FieldInfo) -> tuple[str, ...]:
    """The words of a field that takes one of them, or a set of them; else none."""
    kind = kind_of(field)
    if get_origin(kind) is frozenset:
        kind = get_args(kind)[0]
    return get_args(kind) if get_origin(kind) is Literal else ()


def _allowed(field: FieldInfo) -> str:
    """Every value that a field may have, in words."""
    kind = kind_of(field)
    if words := _words(field):
        some = "one of" if get_origin(kind) is Literal else "some of"
        return f"{some} {', '.join(words)}"
    low, high = bounds_of(field)
    if kind is int:
        return f"a whole number from {low:g} to {high:g}"
    return f"from {low:g} to {high:g}" if kind is float else "text"


def no_option(name: str, known: Collection[str]) -> UsageError:
    """The error, which names the most similar option."""
    short = name[:80]
    hint = did_you_mean(short, known) or f"there are: {', '.join(sorted(known))}"
    return UsageError(f"no option {short!r}; {hint}")


def shown(value: Any) -> str:
    """The value and its type for a message, cut to a short text."""
    return f"{_brief(value)!r} ({type(value).__name__})"


def _brief(value: Any) -> str:
    if isinstance(value, int) and abs(value) >= 10**40:  # Python refuses to write the longest
        return "a number of more than 40 digits"
    return str(value)[:80]


def boxes_of(name: str, text: str) -> tuple[FractionBox, ...]:
    """Read `left,top,right,bottom[,flip]` as fractions of the image, separated by semicolons.

    Raises:
        UsageError: anything else, or more boxes than the limit.
    """
    if text.count(";") > MAX_CUSTOM_BOXES:
        raise UsageError(
            f"{name} has over {text.count(';')} boxes; the limit is {MAX_CUSTOM_BOXES}"
        )
    return tuple(box_of(name, item) for item in filter(None, text.split(";")))


def box_of(name: str, text: str) -> FractionBox:
    """Read one box: `left,top,right,bottom[,flip]`. Raises UsageError for anything else."""
    edges = text.strip()
    flip = edges.endswith(",flip")
    sides = [decimal_number(edge.strip()) for edge in edges.removesuffix(",flip").split(",")]
    known = [side for side in sides if side is not None]
    if len(sides) != 4 or len(known) != 4:
        raise UsageError(
            f"{name} must be left,top,right,bottom[,flip] separated by ';', but got {text[:80]!r}"
        )
    left, top, right, bottom = known
    return FractionBox(left, top, right, bottom, flip)


def boxes_text(boxes: Iterable[FractionBox]) -> str:
    """The text that `boxes_of` reads."""
    return ";".join(map(box_text, boxes))


def box_text(box: FractionBox) -> str:
    """The text that `box_of` reads."""
    edges = ",".join(f"{float(e)!r}" for e in (box.left, box.top, box.right, box.bottom))
    return f"{edges},flip" if box.flip else edges
