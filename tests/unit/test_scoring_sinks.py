"""Sinks: the same rows in every format, typed where the format has types."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.console.text import storable
from service.errors import UsageError
from service.inference.predictor import Predictor, TopClass
from service.inference.tta.steps import Options
from service.scoring.item import Position
from service.scoring.options import ScoreOptions
from service.scoring.result.sinks import sink_for
from service.scoring.rows import Row, schema, table
from tests.support.names import any_names

OPTIONS = ScoreOptions(
    Options(coverage=0.9), top_k=2, single=True, all_probabilities=True, sha256=True
)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)  # a manifest's
shares = st.floats(0, 1, width=32)
tops = st.builds(TopClass, st.integers(0, 9), names, names, shares)
answered = st.builds(
    Row,
    path=any_names,
    position=st.just(Position(0, 0)),
    label=st.none() | any_names,
    sha256=names,
    top=st.tuples(tops, tops),
    probabilities=st.lists(shares, min_size=3, max_size=3).map(tuple),
    prediction_set=st.lists(names, max_size=3).map(tuple),
    single=tops,
    passes=st.integers(1, 10),
    cost=st.floats(0, 10, width=32),
    decode_ms=st.floats(0, 1e4, width=32),
    infer_ms=st.floats(0, 1e4, width=32),
)
failed = st.builds(Row, path=any_names, position=st.just(Position(0, 0)), error=any_names)
rows = st.lists(answered | failed, min_size=1, max_size=5)


def written(name: str, content: pa.Table) -> bytes:
    stream = io.BytesIO()
    sink = sink_for(name)(stream, content.schema)
    sink.write(content.slice(0, 1))
    sink.write(content.slice(1))
    sink.close()
    return stream.getvalue()


def close(got: Any, expected: Any) -> bool:
    if isinstance(expected, float):
        return math.isclose(got, expected, rel_tol=1e-6, abs_tol=1e-38)
    if isinstance(expected, list):
        return len(got) == len(expected) and all(map(close, got, expected))
    return got == expected


@settings(max_examples=40)
@given(rows)
def test_typed_formats_return_the_very_rows(predictor: Predictor, drawn: list[Row]) -> None:
    content = table(drawn, schema(OPTIONS, predictor.manifest))
    assert content["path"].to_pylist() == [storable(row.path) for row in drawn]
    assert pq.read_table(io.BytesIO(written("a.parquet", content))).equals(content)
    assert ipc.open_file(written("a.arrow", content)).read_all().equals(content)


@settings(max_examples=40)
@given(rows)
def test_json_lines_are_the_rows_to_what_float32_holds(
    predictor: Predictor, drawn: list[Row]
) -> None:
    content = table(drawn, schema(OPTIONS, predictor.manifest))
    lines = written("a.jsonl", content).decode().split("\n")
    assert lines.pop() == ""
    for line, expected in zip(lines, content.to_pylist(), strict=True):
        got = json.loads(line)
        assert list(got) == list(expected)
        assert all(close(got[key], value) for key, value in expected.items())


@settings(max_examples=40)
@given(rows)
def test_csv_has_every_cell(predictor: Predictor, drawn: list[Row]) -> None:
    content = table(drawn, schema(OPTIONS, predictor.manifest))
    text = io.StringIO(written("a.csv", content).decode(), newline="")
    for got, expected in zip(csv.DictReader(text), content.to_pylist(), strict=True):
        for key, value in expected.items():
            if value is None:
                assert got[key] == ""
            elif isinstance(value, str):
                assert got[key] == value
            else:
                assert close(json.loads(got[key]), value)


def test_a_row_holds_an_error_or_an_answer(predictor: Predictor) -> None:
    (record,) = table(
        [Row("a.png", Position(0, 0), error="BadImage: no")],
        schema(OPTIONS, predictor.manifest),
    ).to_pylist()
    assert record["status"] == "error"
    assert {k for k, v in record.items() if v is not None} == {"path", "status", "error"}


def test_the_parquet_is_typed_and_compressed(predictor: Predictor, tmp_path: Path) -> None:
    columns = schema(OPTIONS, predictor.manifest)
    path = tmp_path / "a.parquet"
    path.write_bytes(written("a.parquet", table([Row("a", Position(0, 0))], columns)))
    file = pq.ParquetFile(path)
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    assert file.schema_arrow.field("top1_probability").type == pa.float32()
    assert file.schema_arrow.field("probabilities").type == pa.list_(pa.float32())
    file.close()


def test_another_suffix_is_refused() -> None:
    with pytest.raises(UsageError, match=r"out\.xlsx: the suffix must be one of \.parquet, \.csv"):
        sink_for("out.xlsx")
