"""The JSON of an inference request: a small document with one array that may be large.

The array of numbers under `data` is cut out of the text and read in pieces, by `numbers.py`. The
rest is limited to `MAX_HEAD_BYTES`, because JSON of 20 MB can become objects of 500 MB.
"""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from service.api.oip.numbers import NumberText
from service.errors import UsageError

MAX_HEAD_BYTES = 65_536
_BOM = b"\xef\xbb\xbf"
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_COLON_BEFORE_ARRAY = re.compile(rb"[ \t\r\n]*+:[ \t\r\n]*+(?=\[)")
# JSON has no NaN, so NaN can replace each array: Python's parser calls a function for every NaN.
_PLACEHOLDER = b":NaN"


def read_json(body: bytes, stop: int) -> Any:
    """Parse `body[:stop]`; an array of numbers under a key `data` becomes a `NumberText`.

    Numbers with a fraction or an exponent become `Decimal`. A byte order mark is ignored.

    Raises:
        UsageError: the body is not JSON in UTF-8; it has NaN, Infinity, half of a surrogate pair or
            the same key twice; or it has more than `MAX_HEAD_BYTES` without its arrays of numbers.
    """
    arrays: list[NumberText] = []
    head = b"".join(_cut(body, stop, arrays))
    following = iter(arrays)
    try:
        text = head.decode("utf-8")
        value = json.loads(
            text,
            parse_float=Decimal,
            parse_constant=lambda _: next(following),
            object_pairs_hook=_object,
        )
        if "\\u" in text:
            _check_unicode(value)
    except UnicodeDecodeError as error:
        raise UsageError("the body is not JSON: it must be UTF-8") from error
    except json.JSONDecodeError as error:
        raise UsageError(f"the body is not a JSON inference request: {error.msg}") from error
    except (ValueError, ArithmeticError) as error:
        raise UsageError("the body has a number that is too long") from error
    except RecursionError as error:
        raise UsageError(
            "the body is not a JSON inference request: it is nested too deep"
        ) from error
    return value


def _cut(body: bytes, stop: int, arrays: list[NumberText]) -> Iterator[bytes]:
    """The text without its arrays of numbers, which are added to `arrays`, in their order."""
    at = len(_BOM) if body.startswith(_BOM, 0, stop) else 0
    left = MAX_HEAD_BYTES
    while True:
        quote = body.find(b'"', at, stop)
        end = quote if quote >= 0 else stop
        left -= end - at
        _check_left(left)
        between = body[at:end]
        if b"N" in between or b"I" in between:
            raise UsageError("the body is not JSON: it has no numbers NaN and Infinity")
        yield between
        if quote < 0:
            return
        string = _STRING.match(body, quote, min(stop, quote + left))
        if string is None:
            _check_left(left - (stop - quote))
            raise UsageError("the body is not a JSON inference request: a string does not end")
        left -= len(string[0])
        yield string[0]
        at = string.end()
        if _is_data(string[0]):
            colon = _COLON_BEFORE_ARRAY.match(body, at, min(stop, at + MAX_HEAD_BYTES))
            array = _numbers(body, colon.end(), stop) if colon else None
            if array is not None:
                arrays.append(array)
                yield _PLACEHOLDER
                at = array.stop


def _check_left(left: int) -> None:
    if left < 0:
        raise UsageError(
            f"the JSON of a request, without the numbers of its data, is limited to "
            f"{MAX_HEAD_BYTES} bytes; send pixels as an array of numbers or as binary data"
        )


def _is_data(string: bytes) -> bool:
    if b"\\" not in string:
        return string == b'"data"'
    return len(string) < 40 and _loads_to_data(string)


def _loads_to_data(string: bytes) -> bool:
    try:
        return json.loads(string) == "data"
    except ValueError:
        return False


def _numbers(body: bytes, start: int, stop: int) -> NumberText | None:
    """The array that begins at `start`; None if it has strings or objects in it.

    Such an array stays in the document. The reader of its tensor reports the error.
    """
    quote = body.find(b'"', start, stop)
    end = quote if quote >= 0 else stop
    brace = body.find(b"}", start, end)
    last = body.rfind(b"]", start, brace if brace >= 0 else end)
    if last < 0 or body.count(b"[", start, last) != body.count(b"]", start, last + 1):
        return None
    return NumberText(body, start, last + 1)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for name, value in pairs:
        if name in content:
            raise UsageError(f"the body has the key {name[:80]!r} twice in one object")
        content[name] = value
    return content


def _check_unicode(value: Any) -> None:
    """Raises UsageError for text that no encoding can hold, such as "\\ud800"."""
    match value:
        case str():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise UsageError(
                    f"the body has half of a surrogate pair in {value[:80]!r}"
                ) from None
        case dict():
            for key, item in value.items():  # pyright: ignore[reportUnknownVariableType]
                _check_unicode(key)
                _check_unicode(item)
        case list():
            for item in value:  # pyright: ignore[reportUnknownVariableType]
                _check_unicode(item)
        case _:
            pass
