"""True labels are found among the classes of a model, whatever their spelling, or are said."""

import datetime
import unicodedata
from decimal import Decimal
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import DataError
from service.package.labels import LabelIndex, listed
from service.package.manifest import Label
from service.scoring.summary.truth import MOST_NAMES, Truth, notes
from service.tabular import arrow_cells
from service.tabular.label_text import label_text


def index(*pairs: tuple[str, str], indices: bool = True) -> LabelIndex:
    labels = [Label(index=n, id=one, name=name) for n, (one, name) in enumerate(pairs)]
    return LabelIndex(labels, indices=indices)


BIRDS = index(("n1", "crane"), ("n2", "Zürich"), ("n3", "crane"), ("crane bird", "x"))


def test_an_id_wins_over_a_name_and_a_name_over_an_index() -> None:
    found = index(("a", "b"), ("b", "c"), ("c", "d"))
    assert [found.find(text) for text in ("a", "b", "c", "d", "0", "2", "3", "")] == [
        "a", "b", "c", "c", "a", "c", None, None,
    ]  # fmt: skip
    assert found.of_folder("d") == "c"
    assert found.of_folder("0") is None
    assert index(("a", "b"), indices=False).find("0") is None


def test_a_name_of_several_classes_is_refused_with_the_ids_that_would_do() -> None:
    with pytest.raises(DataError, match=r"2 classes are called 'crane': n1, n3; label .* ids"):
        BIRDS.find("crane")
    assert BIRDS.find("n3") == "n3"
    assert BIRDS.of_folder("crane") is None
    # Names that differ in their Unicode form alone are the same name.
    twins = index(("n1", "Zürich"), ("n2", unicodedata.normalize("NFD", "Zürich")))
    with pytest.raises(DataError, match="2 classes are called"):
        twins.find("Zürich")


@pytest.mark.parametrize(
    ("ids", "label", "expected"),
    [
        (["1", "2", "3"], "1", "1"),
        (["1", "2", "3"], "3.0", "3"),  # pandas, in a column with gaps
        (["1", "2", "3"], "0", None),  # the ids are numbers, so a number is not an index
        (["1.0", "2.0"], "2", "2.0"),
        (["00", "01", "02"], "2", "02"),
        (["x", "y"], "1.0", "y"),
        (["x", "y"], "2", None),
        (["x", "y"], "-1", None),
        (["False", "True"], "true", "True"),
        (["x", "y"], "9" * 5000, None),
    ],
)
def test_numbers_and_truth_values_agree_in_any_spelling(
    ids: list[str], label: str, expected: str | None
) -> None:
    assert index(*((one, one) for one in ids)).find(label) == expected


def test_two_ids_of_one_value_are_told_apart_or_refused() -> None:
    found = index(("1", "1"), ("01", "01"))
    assert found.find("01") == "01"
    with pytest.raises(DataError, match=r"2 classes are called '1\.0': 1, 01"):
        found.find("1.0")


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


@given(name=names, form=st.sampled_from(["NFC", "NFD"]), own=st.sampled_from(["NFC", "NFD"]))
def test_composed_and_decomposed_names_are_the_same(name: str, form: Any, own: Any) -> None:
    found = index((unicodedata.normalize(own, name), "other"))
    label = f" {unicodedata.normalize(form, name)} "
    assert found.find(label) == unicodedata.normalize(own, name)
    assert found.of_folder(label) == unicodedata.normalize(own, name)


TEXT = ["a", "é", None]
ENCODED = cast("Any", pc).run_end_encode(pa.array(TEXT))
INTEGERS = pa.array([0, None, 2])


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array(TEXT), ["a", "é", ""]),
        (pa.array(TEXT, pa.large_string()), ["a", "é", ""]),
        (pa.array(TEXT, pa.string_view()), ["a", "é", ""]),
        (pa.array(TEXT).dictionary_encode(), ["a", "é", ""]),
        (
            pa.DictionaryArray.from_arrays(
                pa.array([0, 1, None], pa.uint8()), pa.array(["a", "é"], pa.string_view())
            ),
            ["a", "é", ""],
        ),
        (ENCODED, ["a", "é", ""]),
        (pa.array([b"a", b"caf\xe9", None]), ["a", "caf\udce9", ""]),
        (pa.array([b"a", "é".encode(), None], pa.binary_view()), ["a", "é", ""]),
        (pa.array(['"a"', None], pa.string()).cast(pa.json_(pa.string())), ['"a"', ""]),
        (pa.nulls(2), ["", ""]),
        (INTEGERS, ["0", "", "2"]),
        (INTEGERS.cast(pa.float64()), ["0", "", "2"]),
        (pa.array([1.5, float("nan"), 1e20]), ["1.5", "", "100000000000000000000"]),
        (pa.array([True, None, False]), ["True", "", "False"]),
        (pa.array([Decimal("3.00"), Decimal("3.50")]), ["3", "3.50"]),
        (pa.array([datetime.date(2024, 5, 1)]), ["2024-05-01"]),
        (pa.array([datetime.datetime(2024, 5, 1, 12)]), ["2024-05-01 12:00:00.000000"]),
        (pa.array([["a", "b"], [], None, ["c"]]), ["a;b", "", "", "c"]),
        (pa.array([["a"], ["b", "c"]], pa.large_list(pa.large_string())), ["a", "b;c"]),
        (pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2)), ["1;2"]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_every_arrow_type_that_may_hold_labels(array: Any, expected: list[str]) -> None:
    assert arrow_cells.is_label(array.type)
    assert arrow_cells.labels(array) == expected
    assert arrow_cells.labels(array.slice(1)) == expected[1:]


@pytest.mark.parametrize(
    "kind",
    [
        pa.struct([("a", pa.string())]),
        pa.map_(pa.string(), pa.string()),
        pa.list_(pa.list_(pa.string())),
        pa.duration("s"),
    ],
    ids=str,
)
def test_other_types_hold_no_labels(kind: pa.DataType) -> None:
    assert not arrow_cells.is_label(kind)


def test_the_names_of_a_hugging_face_class_label() -> None:
    label = '{"names": ["cat", "dog"], "_type": "ClassLabel"}'
    features = f'{{"a": {label}, "b": {{"feature": {label}, "_type": "List"}}, "c": [{label}]}}'
    about = f'{{"info": {{"features": {features}}}}}'
    schema = pa.schema({name: pa.int64() for name in "abcd"}, {"huggingface": about})
    assert [arrow_cells.class_names(schema, name) for name in "abcd"] == [
        ("cat", "dog"), ("cat", "dog"), ("cat", "dog"), None,
    ]  # fmt: skip
    assert arrow_cells.class_names(pa.schema({"a": pa.int64()}, {"huggingface": "x"}), "a") is None
    assert arrow_cells.labels(pa.array([1, -1, None, 0]), ("cat", "dog")) == ["dog", "", "", "cat"]
    assert arrow_cells.labels(pa.array([[1, 0], []]), ("cat", "dog")) == ["dog;cat", ""]


def test_a_label_in_a_list_must_not_hold_the_separator() -> None:
    with pytest.raises(DataError, match="'a;b' in a list contains ';'"):
        label_text(["a;b", "c"])
    assert label_text([np.float64(2.0).item()]) == "2"


def test_counts_of_unknown_labels_are_bounded_and_told() -> None:
    truth = Truth()
    truth.add(("cat",), {"cat", "dog"})
    for number in range(2 * MOST_NAMES):
        truth.add((f"x{number}",), {"cat"})
        truth.add_without(f"photos/f{number}/a.jpg")
    for _ in range(3):
        truth.add(("cat", "x7"), {"cat"})
    assert len(truth.labels) == len(truth.folders) == MOST_NAMES
    summary = truth.summary()
    assert (summary["known"], summary["unknown"], summary["none"]) == (1, 2003, 2000)
    assert summary["unknown_labels"]["x7"] == 4
    assert len(summary["unknown_labels"]) < 30
    unknown, without = notes(summary)
    assert (
        "2003 of 2004 labelled images have a true label that is not a class of the model" in unknown
    )
    assert "count as answered wrong: 'x7' (4), 'x0' (1)" in unknown
    assert "2000 answered images have no true label and are not in the accuracy" in without
    assert unknown.endswith(f" and {MOST_NAMES - 10} more")
    assert notes(Truth(without=3).summary()) == []
    assert listed({"a": 1, "b": 2}, most=1) == "'b' (2) and 1 more"
