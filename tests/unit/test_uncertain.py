"""Which images are most worth labelling next."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import UsageError
from service.scoring.result.uncertain_file import UncertainFile
from service.scoring.summary.uncertain import MOST, Uncertain
from service.scoring.uncertainty import of_one_class, of_several_classes

UNIT = st.integers(0, 4).map(lambda n: n / 4)
ROWS = st.lists(
    st.tuples(st.booleans(), UNIT, UNIT.map(lambda u: 4 * u), st.booleans()), max_size=30
)


def table(rows: list[tuple[bool, float, float, bool]], unknown: bool = True) -> pa.Table:
    columns = {
        "path": [str(n) for n in range(len(rows))],
        "status": ["ok" if ok else "error" for ok, *_ in rows],
        "label": pa.array([None] * len(rows), pa.string()),
        "top1_id": ["red"] * len(rows),
        "top1_probability": [0.5] * len(rows),
        "margin": [margin if ok else None for ok, margin, *_ in rows],
        "entropy": [1.0] * len(rows),
    }
    if unknown:
        columns["unknown_score"] = [score for _, _, score, _ in rows]
        columns["is_unknown"] = [is_unknown for *_, is_unknown in rows]
    return pa.table(columns)


def picked(rows: pa.Table, most: int, step: int = 1000) -> list[tuple[str, str]]:
    picker = Uncertain(most)
    for start in range(0, rows.num_rows, step):
        picker.add(rows.slice(start, step))
    return [(one["path"], one["why"]) for one in picker.table().to_pylist()]


def slowly(rows: list[tuple[bool, float, float, bool]], most: int) -> list[tuple[str, str]]:
    """Both orders in full, then by turns."""
    ok = [(str(n), *row[1:]) for n, row in enumerate(rows) if row[0]]
    unknown = [(one[0], "unknown") for one in sorted(ok, key=lambda r: -r[2]) if one[3]][:most]
    margin = [(one[0], "margin") for one in sorted(ok, key=lambda r: r[1]) if not one[3]][:most]
    turns = []
    while margin or unknown:
        turns += margin[:1] + unknown[:1]
        margin, unknown = margin[1:], unknown[1:]
    return turns[:most]


@given(ROWS, st.integers(1, 8), st.integers(1, 9))
def test_the_picked_images_are_those_of_a_full_sort(
    rows: list[tuple[bool, float, float, bool]], most: int, step: int
) -> None:
    assert picked(table(rows), most, step) == slowly(rows, most)


def test_without_an_unknown_score_the_margin_decides() -> None:
    rows = [(True, 0.5, 0.0, True), (True, 0.1, 0.0, True), (False, 0.0, 0.0, True)]
    assert picked(table(rows, unknown=False), 5) == [("1", "margin"), ("0", "margin")]


@pytest.mark.parametrize("most", [0, -1, MOST + 1])
def test_the_number_is_bounded(most: int) -> None:
    with pytest.raises(UsageError, match="--uncertain"):
        Uncertain(most)


def test_margin_and_entropy_by_hand() -> None:
    margin, entropy = of_one_class(np.array([0.1, 0.6, 0.3]), None)
    assert margin == pytest.approx(0.3)
    assert entropy == pytest.approx(-sum(p * np.log(p) for p in (0.1, 0.6, 0.3)))
    assert of_one_class(np.array([0.25] * 4), None) == pytest.approx((0, np.log(4)))
    assert of_one_class(np.array([1.0]), None) == (1.0, 0.0)
    assert of_one_class(np.array([1.0, 0.0]), None) == (1.0, 0.0)
    margin, entropy = of_several_classes(np.array([0.9, 0.4]), (0.7, 0.5))
    assert margin == pytest.approx(0.1)
    terms = [p * np.log(p) + (1 - p) * np.log(1 - p) for p in (0.9, 0.4)]
    assert entropy == pytest.approx(-sum(terms) / 2)
    assert of_several_classes(np.array([0.5, 1.0]), None)[0] == 0


def test_the_name_of_the_file() -> None:
    for output, name in (
        ("out.parquet", "out.uncertain.parquet"), ("a.b/c.d.csv", "a.b/c.d.uncertain.csv"),
        ("s3://bucket/x.jsonl", "s3://bucket/x.uncertain.jsonl"),
    ):  # fmt: skip
        assert UncertainFile(Uncertain(1), output).name == name
    assert UncertainFile(Uncertain(1), "out.csv").path == Path("out.uncertain.csv")
