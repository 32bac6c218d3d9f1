"""No text from outside becomes a log line, a field or a command of its own."""

import json
import logging
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.observability.logs import JsonFormatter, TextFormatter

NASTY = [
    "a\nb",
    "a\r\nERROR quincunx: forged",
    "\x1b[31mred",
    "\x9b31mred",
    "\u2028line",
    "\u202ereversed",
    "half \ud800 of a pair",
    "name\udce9.jpg",
    "\x00",
    'x status=200 route="/a"',
]
TEXT = st.text(st.characters(exclude_categories=[]), max_size=20) | st.sampled_from(NASTY)
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\ud800-\udfff]")


def record(message: str, error: Exception | None = None, **fields: object) -> logging.LogRecord:
    exc_info = None
    if error is not None:
        try:
            raise error
        except Exception:
            exc_info = sys.exc_info()
    made = logging.LogRecord("quincunx.test", logging.INFO, "", 0, message, None, exc_info)
    made.fields = fields
    return made


@given(message=TEXT, value=TEXT)
def test_a_line_of_json_stays_one_line_and_tells_all(message: str, value: str) -> None:
    line = JsonFormatter().format(record(message, ValueError(value), value=value))
    assert "\n" not in line
    assert not CONTROL.search(line)
    line.encode()
    told = json.loads(line)
    if not re.search(r"[\ud800-\udfff]", message + value):
        assert told["message"] == message
        assert told["value"] == value
        assert value in told["traceback"]


@given(message=TEXT, value=TEXT)
def test_a_line_of_text_stays_one_line(message: str, value: str) -> None:
    line = TextFormatter().format(record(message, value=value))
    assert "\n" not in line
    assert not CONTROL.search(line)
    line.encode()


@pytest.mark.parametrize("value", NASTY)
def test_a_traceback_in_text_is_indented(value: str) -> None:
    first, *rest = TextFormatter().format(record("failed", ValueError(value))).split("\n")
    assert first.endswith("INFO quincunx.test: failed")
    assert len(rest) >= 3
    assert all(line.startswith("  ") for line in rest)
    assert not any(map(CONTROL.search, rest))


def test_a_value_cannot_look_like_another_field() -> None:
    line = TextFormatter().format(record("request", model="x status=200", status=500, tta="none"))
    assert line.endswith('request model="x status=200" status=500 tta=none')
