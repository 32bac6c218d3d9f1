"""Results are written with few digits and lines, and say the same."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bench.report.compact import LINE_CHARS, compact_json, compact_svg, rounded

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | st.integers() | NUMBERS | st.text()
JSON_VALUES = st.recursive(
    SCALARS, lambda ones: st.lists(ones, max_size=30) | st.dictionaries(st.text(), ones)
)


def same(got: Any, given: Any) -> bool:
    if isinstance(given, dict):
        return got.keys() == given.keys() and all(same(got[key], given[key]) for key in given)
    if isinstance(given, list):
        return len(got) == len(given) and all(map(same, got, given))
    if isinstance(given, float):
        return isinstance(got, float) and math.isclose(got, given, rel_tol=5.1e-7, abs_tol=1e-300)
    return type(got) is type(given) and got == given


@given(JSON_VALUES)
def test_the_document_says_the_same_and_writing_it_again_changes_nothing(value: Any) -> None:
    text = compact_json(value)
    assert same(json.loads(text), value)
    assert compact_json(json.loads(text)) == text


@pytest.mark.parametrize(
    ("value", "short"),
    [
        (85.95227900150348, 85.95228),
        (0.9444585987261146, 0.9444586),
        (1.1000000001e-7, 1.1e-7),
        (-12.345678912, -12.34568),
        (1795765999.123456, 1795765999.0),  # the digits of a time or of a count stay
        (82.80000000000001, 82.8),
        (0.0, 0.0),
    ],
)
def test_a_number_keeps_seven_digits(value: float, short: float) -> None:
    assert rounded(value) == short


def test_samples_stand_side_by_side() -> None:
    samples = [10 + i / 80 for i in range(1000)]
    lines = compact_json({"samples": samples, "shape": (3, 224)}).splitlines()
    assert lines[-2] == ' "shape": [3, 224]'
    assert len(lines) < 80
    assert max(map(len, lines)) <= LINE_CHARS
    assert lines[2].startswith("10.0,10.0125,")


def test_a_number_that_json_lacks_becomes_null() -> None:
    assert json.loads(compact_json([math.nan, math.inf, 1.0])) == [None, None, 1.0]


def test_a_plot_keeps_its_scales_and_shortens_its_coordinates() -> None:
    text = (
        '<g transform="translate(7.123456 -0.000001) scale(0.015625)">\n'
        '<path d="M 51.378125 263.52 \nL 489.6 1e-05 "/> \n'
        '<use x="12.345678" y="3" id="a.123456"/><text style="x: 1.234567">0.12345</text></g>\n'
    )
    assert compact_svg(text) == (
        '<g transform="translate(7.12 -0) scale(0.015625)">\n'
        '<path d="M 51.38 263.52\nL 489.6 1e-05 "/>\n'
        '<use x="12.35" y="3" id="a.123456"/><text style="x: 1.234567">0.12345</text></g>\n'
    )
