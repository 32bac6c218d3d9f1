"""The journal: what was cut or altered is an error that names --restart, and never a row."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import OutputError
from service.listing.skipped import Skipped
from service.scoring.item import Position
from service.scoring.result.journal import Journal
from service.scoring.resume.trace import Trace
from service.scoring.rows import Row

SETTINGS: dict[str, Any] = {"format": 2, "package": "tiny 1", "options": {"top_k": 5}}
SCHEMA = pa.schema({"path": pa.string(), "status": pa.string(), "error": pa.string()})


def row(number: int) -> Row:
    trace = Trace(bytes([number]) * 32, "1 2 3", False, "red")
    return Row(f"{number}.png", Position(0, number), error="BadImage: no", trace=trace)


def read(folder: Path, run: dict[str, Any] = SETTINGS) -> list[dict[str, Any]]:
    journal = Journal.open(folder, run)
    try:
        assert journal.next == Position(0, journal.rows)
        return [one for content in journal.contents() for one in content.to_pylist()]
    finally:
        journal.close()


@pytest.fixture(scope="module")
def whole() -> Iterator[Path]:
    """A journal of three parts, six rows."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal.open(Path(folder) / "out.partial", SETTINGS)
        for first in (0, 2, 4):
            journal.append([row(first), row(first + 1)], SCHEMA, Skipped())
        journal.close()
        yield journal.folder


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "out.partial"))


def test_rows_are_read_back_as_they_were(copy: Path) -> None:
    rows = read(copy)
    assert [one["path"] for one in rows] == [f"{n}.png" for n in range(6)]
    assert {one["_stamp"] for one in rows} == {"1 2 3"}
    assert rows[3]["_content"] == bytes([3]) * 32


damage = st.sampled_from(["flip", "cut", "empty", "replace", "append"])


@settings(max_examples=300)
@given(st.integers(0, 3), damage, st.floats(0, 1, exclude_max=True), st.integers(0, 7), st.binary())
def test_damage_of_any_file_is_an_error_that_names_restart(
    whole: Path, which: int, how: str, where: float, bit: int, other: bytes
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(shutil.copytree(whole, Path(scratch) / "out.partial"))
        expected = read(folder)
        path = sorted(one for one in folder.iterdir() if one.name != "lock")[which]
        data = bytearray(path.read_bytes())
        at = int(where * len(data))
        if how == "flip":
            data[at] ^= 1 << bit
        else:
            data = {"cut": data[:at], "empty": b"", "replace": other, "append": data + other}[how]
        path.write_bytes(data)
        try:
            assert read(folder) == expected
        except OutputError as error:
            assert "--restart" in str(error)  # noqa: PT017  # equal rows are right as well
        anew = Journal.open(folder, SETTINGS, restart=True)
        assert anew.rows == 0
        anew.close()
        assert read(folder) == []


def test_a_missing_part_is_noticed(copy: Path) -> None:
    sorted(copy.glob("part-*"))[1].unlink()
    with pytest.raises(OutputError, match=r"of which there are 2: a part is missing.*--restart"):
        read(copy)


def test_a_missing_last_part_is_scored_again(copy: Path) -> None:
    sorted(copy.glob("part-*"))[2].unlink()
    assert [one["path"] for one in read(copy)] == [f"{n}.png" for n in range(4)]


def test_missing_settings_lose_no_rows_silently(copy: Path) -> None:
    (copy / "settings.json").unlink()
    with pytest.raises(OutputError, match=r"settings\.json is missing.*--restart"):
        read(copy)
    assert len(list(copy.glob("part-*"))) == 3


def test_a_part_of_another_run_is_refused(copy: Path, tmp_path: Path) -> None:
    other = Journal.open(tmp_path / "other.partial", {**SETTINGS, "package": "tiny 2"})
    other.append([row(0), row(1)], SCHEMA, Skipped())
    other.close()
    sorted(copy.glob("part-*"))[0].unlink()
    shutil.copy(next(other.folder.glob("part-*")), copy)
    with pytest.raises(OutputError, match=r"belongs to a run with other settings.*--restart"):
        read(copy)


def test_a_journal_of_the_version_before_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "out.partial"
    folder.mkdir()
    (folder / "settings.json").write_text(json.dumps({"format": 1, "package": "tiny 1"}))
    with pytest.raises(OutputError, match=r"another version of Quincunx.*--restart"):
        read(folder)


def test_other_settings_are_named(copy: Path) -> None:
    with pytest.raises(OutputError, match=r"options\.top_k was 5, now 3.*--restart"):
        read(copy, {**SETTINGS, "options": {"top_k": 3}})


@pytest.mark.parametrize("name", ["settings.json", "part", "done.json"])
def test_a_file_that_cannot_be_read_is_named(
    copy: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root, who may read everything, permission is refused by hand."""
    original = Path.read_bytes
    (copy / "done.json").touch()
    if name != "done.json":
        (copy / "done.json").unlink()

    def read_bytes(path: Path) -> bytes:
        if path.name.startswith(name):
            raise PermissionError(13, "Permission denied")
        return original(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    with pytest.raises(
        OutputError, match=rf"{name}.* cannot be read: Permission denied.*--restart"
    ):
        read(copy)


def test_a_folder_that_is_a_file_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "out.partial").touch()
    with pytest.raises(OutputError, match=r"out\.partial cannot be written: File exists"):
        Journal.open(tmp_path / "out.partial", SETTINGS)


@pytest.mark.parametrize("restart", [False, True])
def test_what_others_put_there_stays(tmp_path: Path, restart: bool) -> None:
    """A folder that is called OUT.partial need not be ours."""
    folder = tmp_path / "out.partial"
    (folder / "notes").mkdir(parents=True)
    (folder / "a.txt").write_text("another's")
    journal = Journal.open(folder, SETTINGS, restart=restart)
    journal.append([row(0)], SCHEMA, Skipped())
    journal.remove()
    journal.close()
    assert sorted(path.name for path in folder.iterdir()) == ["a.txt", "notes"]
