"""Skipped files are counted by reason, the first few named, in bounded memory."""

import json

from hypothesis import given
from hypothesis import strategies as st

from service.listing.skipped import HIDDEN, MOST_REASONS, NAMED, OTHER_SUFFIXES, Skipped
from tests.support.names import file_names


def counted(*paths: str) -> Skipped:
    skipped = Skipped()
    for path in paths:
        skipped.add(path)
    return skipped


def test_files_are_counted_by_suffix_and_the_first_are_named() -> None:
    skipped = counted(*(f"{n}.TXT" for n in range(5)), "b.csv", "noext")
    skipped.add(".DS_Store", HIDDEN)
    assert (skipped.files, skipped.hidden) == (7, 1)
    assert skipped.facts() == {
        "skipped": 7,
        "hidden": 1,
        "skipped_by_reason": {
            ".txt": {"files": 5, "first": ["0.TXT", "1.TXT", "2.TXT"]},
            ".csv": {"files": 1, "first": ["b.csv"]},
            "hidden or system": {"files": 1, "first": [".DS_Store"]},
            "no suffix": {"files": 1, "first": ["noext"]},
        },
    }
    assert skipped.lines()[0] == "skipped 5 files (.txt): 0.TXT, 1.TXT, 2.TXT, …"
    assert skipped.lines()[1] == "skipped 1 file (.csv): b.csv"


def test_nothing_skipped_says_nothing() -> None:
    assert Skipped().lines() == []
    assert Skipped().facts() == {"skipped": 0, "hidden": 0, "skipped_by_reason": {}}


@given(st.lists(file_names))
def test_a_count_goes_through_json(names: list[str]) -> None:
    skipped = counted(*names)
    again = Skipped.from_json(json.loads(json.dumps(skipped.as_json(), ensure_ascii=False)))
    assert again.facts() == skipped.facts()
    json.dumps(skipped.facts(), ensure_ascii=False).encode()


@given(st.lists(file_names), st.integers(0, 20))
def test_counts_of_parts_add_up(names: list[str], cut: int) -> None:
    whole, first = counted(*names), counted(*names[:cut])
    first.extend(counted(*names[cut:]))
    assert first.facts() == whole.facts()


def test_odd_suffixes_take_no_memory() -> None:
    skipped = counted(*(f"a.s{n}" for n in range(1000)))
    other = counted(*(f"a.t{n}" for n in range(1000)))
    skipped.extend(other)
    assert len(skipped.groups) <= MOST_REASONS + 1
    assert skipped.files == 2000
    assert len(skipped.groups[OTHER_SUFFIXES].first) == NAMED
