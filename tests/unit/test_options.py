"""Options: bounded before they are taken apart, and every number strict."""

import pytest

from service.api.options import (
    MAX_OPTION_CHARS,
    MAX_QUERY_OPTIONS,
    query_options,
    read_options,
)
from service.errors import UsageError
from service.inference.tta.planner import MAX_CUSTOM_BOXES

BOX = "0,0,0.5,0.5"


@pytest.mark.parametrize("top_k", ["05", "+5", "5_0", "٥", "0" * 5000 + "5", "9" * 400, "1001"])
def test_top_k_is_strict(top_k: str) -> None:
    with pytest.raises(UsageError, match="top_k must be a whole number from 1 to 1000"):
        read_options([("top_k", top_k)], {})


@pytest.mark.parametrize("edge", ["+0", "0_0", "٠", "nan", "1e999", "00"])
def test_the_edges_of_boxes_are_strict(edge: str) -> None:
    with pytest.raises(UsageError, match="boxes must be left,top,right,bottom"):
        read_options([("boxes", f"{edge},0,1,1")], {})


def test_the_most_boxes_fit_with_all_their_digits() -> None:
    box = ",".join(["0.12345678901234567", "0.1234567890123456", "0.9876543210987654", "1"])
    asked = read_options([("boxes", f"{box},flip;" * MAX_CUSTOM_BOXES)], {})
    assert len(asked.boxes) == MAX_CUSTOM_BOXES
    with pytest.raises(UsageError, match=f"the limit is {MAX_CUSTOM_BOXES}"):
        read_options([("boxes", f"{BOX};" * (MAX_CUSTOM_BOXES + 2))], {})


def test_a_long_value_is_refused_before_it_is_read() -> None:
    for value in ("[" * 10**6, f"{BOX};" * 10**6, '"' + "x" * 10**6):
        with pytest.raises(UsageError, match=f"the limit is {MAX_OPTION_CHARS}"):
            read_options([], {"boxes": value})


def test_many_options_are_refused_before_they_are_split() -> None:
    with pytest.raises(UsageError, match=f"the limit is {MAX_QUERY_OPTIONS}"):
        query_options(b"top_k=1&" * 10**5)


def test_a_long_unknown_name_is_cut_in_the_answer() -> None:
    with pytest.raises(UsageError) as caught:
        read_options([("x" * 10**6, "1")], {})
    assert len(str(caught.value)) < 400


def test_a_query_may_be_raw_utf_8() -> None:
    raw, encoded = "model=é".encode(), b"model=%C3%A9"
    assert query_options(raw) == query_options(encoded) == [("model", "é")]
