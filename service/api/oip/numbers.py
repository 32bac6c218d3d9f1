"""A JSON array of numbers, read into uint8 without changing a value.

A JSON parser holds Python's interpreter lock until it returns, so a body of 20 MB would stop every
other request for half a second. The array is read in pieces instead; other threads run between two
pieces, and only one piece at a time exists as Python objects.
"""

import json
import math
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from service.errors import DeadlineExceeded, UsageError

PIECE_BYTES = 65_536
WHITESPACE = b" \t\r\n"
# A float is exact enough for a number of at most this many characters. Longer numbers are read as
# decimals.
_LONG = re.compile(rb"[0-9.]{16}|[eE][+-]?[0-9]{3}")
_OPENING = re.compile(rb"[\[ \t\r\n]*+")
_BRACKETS_TO_SPACES = bytes.maketrans(b"[]", b"  ")

Kind = Literal["number", "open", "close", "comma"]
_CODES: dict[Kind, int] = {"number": 0, "open": 1, "close": 2, "comma": 3}
_NEXT: dict[Kind, tuple[Kind, ...]] = {
    "number": ("number", "close", "comma"),
    "open": ("open", "number"),
    "close": ("close", "comma"),
    "comma": ("open", "number"),
}
"""Pairs of characters that may follow each other in nested arrays without white space."""


@dataclass(frozen=True)
class NumberText:
    """The text of one JSON array: `body[start:stop]`, which begins with `[` and ends with `]`."""

    body: bytes
    start: int
    stop: int

    def pieces(self) -> Iterator[bytes]:
        """The text inside the outer brackets, cut at commas; the commas are left out.

        Raises:
            UsageError: no comma within `PIECE_BYTES`.
        """
        at, end = self.start + 1, self.stop - 1
        while end - at > PIECE_BYTES:
            comma = self.body.rfind(b",", at, at + PIECE_BYTES)
            if comma < 0:
                raise UsageError(f"the data has {PIECE_BYTES} bytes without a comma: no numbers")
            yield self.body[at:comma]
            at = comma + 1
        yield self.body[at:end]

    @property
    def depth(self) -> int:
        """How many brackets open before the first number, up to the length of a piece."""
        opening = _OPENING.match(self.body, self.start, min(self.stop, self.start + PIECE_BYTES))
        return opening[0].count(b"[") if opening else 0


def read_uint8(
    text: NumberText, shape: tuple[int, ...], what: str, until: float = math.inf
) -> NDArray[np.uint8]:
    """Read numbers, flat or nested exactly as `shape`: uint8[shape].

    `255`, `255.0` and `2.55e2` are the same number, as in JSON.

    Raises:
        UsageError: an element is not a whole number from 0 to 255, or the number of elements does
            not fit `shape`; the message calls the tensor `what`.
        DeadlineExceeded: `time.monotonic()` passed `until`.
    """
    size = math.prod(shape)
    depth = text.depth
    if depth not in (1, len(shape)):
        raise UsageError(
            f"{what}: the data must be flat or nested as its shape {list(shape)}, "
            f"but it is nested {depth} deep"
        )
    nesting = _Nesting(shape, what) if depth > 1 else None
    values = bytearray()
    for piece in text.pieces():
        if time.monotonic() > until:
            raise DeadlineExceeded("the deadline passed while the numbers of the data were read")
        plain = piece
        if nesting is not None:
            nesting.check(piece)
            plain = piece.translate(_BRACKETS_TO_SPACES)
        values += _read_piece(plain, len(values), what)
        if len(values) > size:
            raise UsageError(f"{what} has more than the {size} numbers that its shape needs")
    if len(values) != size:
        raise UsageError(f"{what} has {len(values)} numbers; its shape needs {size}")
    if nesting is not None:
        nesting.end()
    return np.frombuffer(values, np.uint8).reshape(shape)


def _read_piece(piece: bytes, first: int, what: str) -> bytes:
    """The numbers of one piece; `first` is the index of its first element."""
    text = b"[" + piece + b"]"
    if b"t" not in piece and b"f" not in piece:  # for bytes() and NumPy, true and false are numbers
        with suppress(TypeError, ValueError, OverflowError, RecursionError):
            return _whole(json.loads(text), exact=not _LONG.search(piece))
    try:
        values: list[Any] = json.loads(text, parse_float=Decimal, parse_constant=_Constant)
    except (ValueError, ArithmeticError, RecursionError):
        values = []
    if not values:
        after = f" after element {first - 1}" if first else ""
        raise UsageError(f"{what}: the data{after} is not a JSON array of numbers")
    return bytes([exact_uint8(v, f"{what}: element {first + i}") for i, v in enumerate(values)])


def _whole(values: list[Any], *, exact: bool) -> bytes:
    """Whole numbers from 0 to 255. ValueError or TypeError if one is not, or may not be.

    Floats are accepted if they are `exact`.
    """
    if not values:
        raise ValueError
    try:
        return bytes(values)
    except TypeError:
        if not exact or not {int, float}.issuperset(map(type, values)):
            raise
    floats = np.array(values, np.float64)
    if not ((floats >= 0) & (floats <= 255) & (floats == np.trunc(floats))).all():
        raise ValueError
    return floats.astype(np.uint8).tobytes()


def exact_uint8(value: Any, what: str) -> int:
    """A JSON value as a whole number from 0 to 255.

    Raises:
        UsageError: it is another number, or not a number; the message calls it `what`.
    """
    number = type(value) in (int, Decimal)
    if number and 0 <= value <= 255 and value == value.__trunc__():
        return int(value)
    raise UsageError(f"{what} is {_shown(value)}; UINT8 takes whole numbers from 0 to 255")


class _Constant(str):
    """`NaN`, `Infinity` or `-Infinity`, which Python reads and JSON does not have."""


def _shown(value: Any) -> str:
    match value:
        case _Constant():
            return value
        case str():
            return f"the string {value[:40]!r}"
        case list():
            return "an array"
        case dict():
            return "an object"
        case None | bool():
            return json.dumps(value)
        case int():
            return str(value) if abs(value) < 10**40 else "a number of more than 40 digits"
        case _:
            return str(value)[:40]


class _Nesting:
    """Checks, piece after piece, that the brackets stand where `shape` needs them."""

    def __init__(self, shape: tuple[int, ...], what: str) -> None:
        self._wrong = f"{what}: the data is nested, but not as its shape {list(shape)}"
        self._strides = [math.prod(shape[axis:]) for axis in range(1, len(shape))]
        """Elements in one array of each level below the outermost."""
        self._elements = self._opened = self._closed = 0

    def check(self, piece: bytes) -> None:
        """Check one piece of whole elements against the shape."""
        text = np.frombuffer(b"," + piece.translate(None, WHITESPACE) + b",", np.uint8)
        codes = _CODE_OF[text]
        if not _MAY_FOLLOW[codes[:-1], codes[1:]].all():
            raise UsageError(self._wrong)
        numbers = codes == _CODES["number"]
        starts = np.flatnonzero(numbers[1:] & ~numbers[:-1]) + 1
        opened = self._opened + np.cumsum(codes == _CODES["open"])
        closed = self._closed + np.cumsum(codes == _CODES["close"])
        before = self._elements + np.arange(len(starts))
        expected = sum(before // stride for stride in self._strides)
        levels = len(self._strides)
        if (opened[starts] != expected + levels).any() or (closed[starts] != expected).any():
            raise UsageError(self._wrong)
        self._elements += len(starts)
        self._opened, self._closed = int(opened[-1]), int(closed[-1])

    def end(self) -> None:
        """Check the brackets after the last element against the shape."""
        arrays = sum(self._elements // stride for stride in self._strides)
        if (self._opened, self._closed) != (arrays, arrays):
            raise UsageError(self._wrong)


_CODE_OF = np.zeros(256, np.uint8)  # everything else belongs to a number, or JSON refuses it
_CODE_OF[list(b"[],")] = [_CODES["open"], _CODES["close"], _CODES["comma"]]
_MAY_FOLLOW = np.zeros((4, 4), bool)
for _first, _seconds in _NEXT.items():
    for _second in _seconds:
        _MAY_FOLLOW[_CODES[_first], _CODES[_second]] = True
