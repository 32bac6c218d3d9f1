"""Numbers in headers and options are read by one strict grammar."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.number_text import decimal_number, whole_number

TRICKS = [
    "",
    " 5",
    "5 ",
    "+5",
    "-5",
    "05",
    "0" * 5000 + "5",
    "9" * 5000,
    "5_0",
    "5.0",
    "5e0",
    "0x5",
]
OTHER_DIGITS = ["²", "٣", "५", "５", "Ⅴ"]


@pytest.mark.parametrize("text", TRICKS + OTHER_DIGITS)
def test_a_whole_number_is_plain_digits(text: str) -> None:
    assert whole_number(text, 0, 10**30) is None


@given(st.integers(0, 10**17))
def test_every_plain_whole_number_is_read(value: int) -> None:
    assert whole_number(str(value), 0, 10**17) == value
    assert whole_number(str(value), value + 1, 10**18) is None


@pytest.mark.parametrize(
    "text", ["", "nan", "inf", "-inf", "+0.5", "0_1", "00.5", "1e999", "٠.٥", ".", "-", "9" * 5000]
)
def test_a_decimal_number_is_plain_digits(text: str) -> None:
    assert decimal_number(text) is None


@given(st.floats(-1e17, 1e17, allow_nan=False))
def test_every_plain_decimal_number_is_read(value: float) -> None:
    assert decimal_number(repr(value)) == value


def test_a_decimal_number_may_begin_or_end_with_its_point() -> None:
    assert (decimal_number(".5"), decimal_number("1.")) == (0.5, 1.0)


@given(st.text(max_size=12))
def test_no_text_raises(text: str) -> None:
    assert decimal_number(text) is None or float(text) == decimal_number(text)
    assert whole_number(text, 0, 10**18) is None or str(int(text)) == text
