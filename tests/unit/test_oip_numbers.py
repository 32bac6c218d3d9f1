"""Arrays of numbers in inference requests: read exactly, or refused with the element's index."""

import json
import math
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.oip import numbers as oip_numbers
from service.api.oip.numbers import NumberText, read_uint8
from service.errors import DeadlineExceeded, UsageError

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.just(3))


def number_text(text: str) -> NumberText:
    body = f"before {text} after".encode()
    return NumberText(body, 7, len(body) - 6)


@pytest.fixture(params=[40, 65_536], autouse=True)
def piece(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces so short that every array has many, and the real ones."""
    monkeypatch.setattr(oip_numbers, "PIECE_BYTES", request.param)


def written(values: Any, data: st.DataObject) -> str:
    """JSON with white space drawn at random, as many notations of a number as it has."""
    space = data.draw(st.sampled_from(["", " ", "\n"]))
    if isinstance(values, list):
        inner = f"{space},{space}".join(written(value, data) for value in values)
        return f"[{space}{inner}{space}]"
    forms = [str(values), f"{values}.0", f"{values}e0", f"{values * 10}E-1"]
    return data.draw(st.sampled_from(forms))


@given(shape=SHAPES, nested=st.booleans(), data=st.data())
def test_any_notation_and_nesting_is_read_exactly(
    shape: tuple[int, ...], nested: bool, data: st.DataObject
) -> None:
    size = math.prod(shape)
    values = np.array(data.draw(st.lists(st.integers(0, 255), min_size=size, max_size=size)))
    text = written(values.reshape(shape).tolist() if nested else values.tolist(), data)
    read = read_uint8(number_text(text), shape, "images")
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, values.reshape(shape))


@pytest.mark.parametrize(
    ("wrong", "shown"),
    [
        ("-1", "-1"),
        ("256", "256"),
        ("0.5", "0.5"),
        ("254.99", "254.99"),
        ("1e3", "1E"),
        ("1e-400", "1E-400"),
        ("255.000000000000000000001", "255.000000000000000000001"),
        ("1e999999999999999999", ""),
        ("-0.001", "-0.001"),
        ("18446744073709551616", "18446744073709551616"),
        ("9" * 500, "digits"),
        ("true", "true"),
        ("false", "false"),
        ("null", "null"),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ('"7"', "the string '7'"),
        ("[7]", "an array"),
        ("{}", "an object"),
    ],
)
@pytest.mark.parametrize("at", [0, 5, 11])
def test_a_value_that_uint8_has_not_is_named(wrong: str, shown: str, at: int) -> None:
    elements = [str(value) for value in range(12)]
    elements[at] = wrong
    text = number_text(f"[{','.join(elements)}]")
    with pytest.raises(UsageError) as caught:
        read_uint8(text, (1, 2, 2, 3), "images")
    message = str(caught.value)
    if len(wrong) > oip_numbers.PIECE_BYTES:
        assert "40 bytes without a comma" in message
    elif shown and (at, wrong) != (0, "[7]"):  # which looks nested from the beginning
        assert f"images: element {at} is " in message
        assert shown in message
        assert "whole numbers from 0 to 255" in message


@pytest.mark.parametrize("wrong", ["01", "1.", ".5", "+1", "1 2", "0x1", "1_0", "", " ", "1,", "t"])
@pytest.mark.parametrize("at", [0, 5, 11])
def test_what_is_no_json_number_is_refused(wrong: str, at: int) -> None:
    elements = [str(value) for value in range(12)]
    elements[at] = wrong
    with pytest.raises(UsageError, match="images"):
        read_uint8(number_text(f"[{','.join(elements)}]"), (1, 2, 2, 3), "images")


@given(shape=SHAPES, data=st.data())
def test_brackets_anywhere_else_are_refused(shape: tuple[int, ...], data: st.DataObject) -> None:
    """Move, add or remove one bracket or comma of a nested array."""
    text = list(json.dumps(np.zeros(shape, int).tolist(), separators=(",", ":")))
    places = [i for i, c in enumerate(text) if c in "[]," and 0 < i < len(text) - 1]
    at = data.draw(st.sampled_from(places))
    change = data.draw(st.sampled_from(["remove", "double", "replace", "swap"]))
    before = list(text)
    if change == "remove":
        del text[at]
    elif change == "double":
        text.insert(at, text[at])
    elif change == "replace":
        text[at] = data.draw(st.sampled_from([c for c in "[]," if c != text[at]]))
    else:
        text[at], text[at + 1] = text[at + 1], text[at]
    if text == before:
        return
    with pytest.raises(UsageError, match="images"):
        read_uint8(number_text("".join(text)), shape, "images")


@given(shape=SHAPES, other=SHAPES)
def test_nested_otherwise_than_the_shape_is_refused(
    shape: tuple[int, ...], other: tuple[int, ...]
) -> None:
    """Channels first, for example: as many numbers, another picture."""
    text = number_text(json.dumps(np.zeros(other, int).tolist()))
    if shape == other:
        read_uint8(text, shape, "images")
    else:
        with pytest.raises(UsageError, match="images"):
            read_uint8(text, shape, "images")


@pytest.mark.parametrize("count", [0, 1, 11, 13, 500])
def test_the_count_must_fit_the_shape(count: int) -> None:
    with pytest.raises(UsageError, match="images"):
        read_uint8(number_text(json.dumps([0] * count)), (1, 2, 2, 3), "images")


def test_partly_nested_is_refused() -> None:
    with pytest.raises(UsageError, match="flat or nested as its shape"):
        read_uint8(number_text(json.dumps([[0] * 12])), (1, 2, 2, 3), "images")


def test_reading_ends_at_the_deadline() -> None:
    with pytest.raises(DeadlineExceeded):
        read_uint8(number_text(json.dumps([0] * 12)), (1, 2, 2, 3), "images", time.monotonic() - 1)
