"""Any bytes that are called a list or a table give items, or one error of ours."""

import io
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyarrow import ipc

from service.errors import DataError, UsageError
from service.scoring.sources import Columns, expand
from training.data.table import read_table

SUFFIXES = (".csv", ".tsv", ".txt", ".lst", ".parquet", ".arrow", ".feather")
MADE = pa.table({"path": ["a.jpg", "b.jpg"], "label": ["x", None], "image": [b"1", b"2"]})


@cache
def _tables() -> list[bytes]:
    parquet, arrow, stream = io.BytesIO(), io.BytesIO(), io.BytesIO()
    pq.write_table(MADE, parquet)
    for sink, new in ((arrow, ipc.new_file), (stream, ipc.new_stream)):
        with new(sink, MADE.schema) as writer:
            writer.write_table(MADE)
    return [one.getvalue() for one in (parquet, arrow, stream)]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A real table with some bytes changed, or cut."""
    data = bytearray(draw(st.sampled_from(_tables())))
    for _ in range(draw(st.integers(0, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


text = st.text(st.sampled_from('path,label;|\t"\r\n.jpga/\ufeff\0é='), max_size=60)
encoded = st.builds(str.encode, text, st.sampled_from(["utf-8", "utf-16", "utf-16-le"]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.one_of(st.binary(max_size=80), encoded, damaged()),
    suffix=st.sampled_from(SUFFIXES),
    labelled=st.booleans(),
)
@example(data=b"path\n" + b"\xff" * 9, suffix=".csv", labelled=False)
@example(data=b"", suffix=".txt", labelled=True)
def test_any_bytes_are_a_list_or_an_error(
    tmp_path: Path, data: bytes, suffix: str, labelled: bool
) -> None:
    path = tmp_path / f"any{suffix}"
    path.write_bytes(data)
    error = ""
    try:
        (source,) = expand([str(path)], Columns(label="label" if labelled else None))
        for item in source.items():
            assert item.error is None or item.error.startswith(("DataError: ", "TooLarge: "))
    except (UsageError, DataError) as refused:
        error = str(refused)
    assert not error or f"any{suffix}" in error
    if suffix not in (".txt", ".lst"):
        with pytest.raises(DataError, match="any"):
            read_table(path)
