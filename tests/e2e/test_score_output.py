"""OUT: never replaced unasked, never taken for what it is not, whole or not there."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.scoring.result import output
from service.scoring.result.journal import Journal
from service.scoring.result.target import Target
from service.scoring.scorer import Scorer
from tests.support.scoring import image_folder, read_rows, run_score, write_parquet


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return image_folder(tmp_path / "photos", each=4, side_px=64)


def common(package: Path) -> list[object]:
    return ["--model", package, "--no-timing", "--chunk-images", 4]


def test_two_runs_on_one_output_with_work_elsewhere(
    folder: Path, package: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.parquet"
    with Target(str(out)).locked():
        work = ["--work", tmp_path / "elsewhere"]
        refused = run_score(folder, "-o", out, *common(package), *work)
        assert refused.exit_code == 1
        assert f"another run is writing into {out}" in refused.stderr
        assert not list((tmp_path / "elsewhere").iterdir())
    assert run_score(folder, "-o", out, *common(package), *work).exit_code == 0


def test_a_file_that_appears_meanwhile_is_not_replaced(
    folder: Path, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where another machine finishes a run of the same name."""
    out, original = tmp_path / "out.csv", Scorer.finish

    def finish(self: Scorer, chunk: Any) -> Any:
        out.write_text("another's")
        return original(self, chunk)

    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "finish", finish)
        refused = run_score(folder, "-o", out, *common(package))
    assert refused.exit_code == 1
    assert f"{out} exists already" in refused.stderr
    assert out.read_text() == "another's"
    assert run_score(folder, "-o", out, *common(package)).exit_code == 1
    assert run_score(folder, "-o", out, *common(package), "--overwrite").exit_code == 0
    assert len(out.read_text().splitlines()) == 13
    assert not list(tmp_path.glob("*.partial"))


def test_a_complete_result_is_counted_again(folder: Path, package: Path, tmp_path: Path) -> None:
    (folder / "red" / "bad.png").write_bytes(b"bad")
    out, report = tmp_path / "out.arrow", tmp_path / "report.md"
    first = json.loads(run_score(folder, "-o", out, *common(package), "--json").stdout)
    again = run_score(folder, "-o", out, *common(package), "--json", "--report", report)
    summary = json.loads(again.stdout)
    assert summary == {
        key: value
        for key, value in first.items()
        if key not in ("seconds", "images_per_s", "resumed_from")
    } | {"complete_already": True}
    assert summary["failed"] == 1
    assert "13 images, 1 failed" in report.read_text()
    assert run_score(folder, "-o", out, *common(package), "--strict").exit_code == 1


def test_a_complete_result_in_a_folder_that_cannot_be_written(
    folder: Path, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.parquet"
    assert run_score(folder, "-o", out, *common(package)).exit_code == 0

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("nothing need be written")

    monkeypatch.setattr(Journal, "open", refuse)
    assert "is complete already" in run_score(folder, "-o", out, *common(package)).stderr


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_format_that_cannot_say_is_refused(
    folder: Path, package: Path, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"out{suffix}"
    assert run_score(folder, "-o", out, *common(package)).exit_code == 0
    refused = run_score(folder, "-o", out, *common(package))
    assert refused.exit_code == 1
    assert "its format cannot record which images" in refused.stderr


def test_a_table_of_others_is_refused(folder: Path, package: Path, tmp_path: Path) -> None:
    out = write_parquet(tmp_path / "out.parquet", {"path": ["a"]})
    refused = run_score(folder, "-o", out, *common(package))
    assert refused.exit_code == 1
    assert "no run like this made it" in refused.stderr


def test_another_version_made_it(
    folder: Path, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.parquet"
    assert run_score(folder, "-o", out, *common(package)).exit_code == 0
    monkeypatch.setattr("PIL.__version__", "1.0")
    refused = run_score(folder, "-o", out, *common(package))
    assert refused.exit_code == 1
    assert "made with other settings: libraries.pillow was " in refused.stderr


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(0, 1, exclude_max=True), st.integers(0, 7), st.booleans())
def test_a_damaged_result_is_refused_or_read_whole(
    folder: Path, package: Path, where: float, bit: int, cut: bool
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "out.parquet"
        assert run_score(folder, "-o", out, *common(package)).exit_code == 0
        rows = read_rows(out)
        data = bytearray(out.read_bytes())
        at = int(where * len(data))
        if cut:
            del data[at:]
        else:
            data[at] ^= 1 << bit
        out.write_bytes(data)
        again = run_score(folder, "-o", out, *common(package))
        assert again.exception is None or isinstance(again.exception, SystemExit)
        if again.exit_code:
            assert f"{out} exists already" in again.stderr
            assert "--overwrite" in again.stderr
        else:
            assert pq.read_table(out).to_pylist() == rows


def stop_at(moment: str, *given: object, out: Path) -> None:
    """Stop a run just before its result gets its name, or just after."""

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*((output, "_publish") if moment == "before" else (Journal, "remove")), die)
        assert run_score(*given, "-o", out).exit_code == 130
    assert out.exists() == (moment == "after")


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_source_that_changed_after_the_last_row(
    folder: Path, package: Path, tmp_path: Path, suffix: str, moment: str
) -> None:
    out = tmp_path / f"out{suffix}"
    stop_at(moment, folder, *common(package), out=out)
    (folder / "red" / "0001.png").unlink()
    refused = run_score(folder, "-o", out, *common(package))
    assert refused.exit_code == 1
    if moment == "before":
        assert "photos has changed" in refused.stderr
        assert "start again (--restart)" in refused.stderr
        assert run_score(folder, "-o", out, *common(package), "--restart").exit_code == 0
    else:
        assert f"{out} exists already" in refused.stderr
        assert run_score(folder, "-o", out, *common(package), "--overwrite").exit_code == 0
    whole = tmp_path / f"whole{suffix}"
    assert run_score(folder, "-o", whole, *common(package)).exit_code == 0
    assert out.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("name", ["result", "done.json"])
def test_a_damaged_result_never_gets_its_name(
    folder: Path, package: Path, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "out.csv"
    stop_at("before", folder, *common(package), out=out)
    path = Path(f"{out}.partial") / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    refused = run_score(folder, "-o", out, *common(package))
    assert refused.exit_code == 1
    assert f"{path} is damaged" in refused.stderr
    assert "--restart" in refused.stderr
    assert not out.exists()
    assert run_score(folder, "-o", out, *common(package), "--restart").exit_code == 0


@pytest.mark.parametrize("what", ["moved away", "replaced", "lost before it had its name"])
def test_a_result_that_is_not_there_any_more_is_made_again(
    folder: Path, package: Path, tmp_path: Path, what: str
) -> None:
    """A run was killed in its last moment, and before the next one its result went."""
    out, replaced = tmp_path / "out.csv", what == "replaced"
    stop_at("before" if what.startswith("lost") else "after", folder, *common(package), out=out)
    if what == "moved away":
        out.rename(tmp_path / "archive")
    elif replaced:
        out.write_text("another's")
    else:
        (tmp_path / "out.csv.partial" / "result").unlink()
    again = run_score(folder, "-o", out, *common(package))
    assert again.exit_code == replaced
    assert out.read_text().count("\n") == (0 if replaced else 13)
    assert not list(tmp_path.glob("*.partial"))


def test_an_upload_that_was_stopped_is_finished(
    folder: Path, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Storage that shows a file before it is whole: the same command replaces the piece."""
    import fsspec

    memory = fsspec.filesystem("memory")
    url = f"memory://{tmp_path.name}/out.csv"
    given = [folder, "-o", url, "--work", tmp_path / "work", *common(package)]

    def stop_halfway(local: str, remote: str) -> None:
        memory.pipe_file(remote, Path(local).read_bytes()[:100])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(memory, "put_file", stop_halfway)
        assert run_score(*given).exit_code == 130
    assert run_score(*given).exit_code == 0
    assert len(memory.cat(url).decode().splitlines()) == 13
    assert run_score(*given).exit_code == 1  # now it is there
    memory.pipe_file(url, b"another's")
    assert run_score(*given).exit_code == 1
    assert memory.cat(url) == b"another's"


def test_a_journal_that_is_deleted_meanwhile_is_one_error(
    folder: Path, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, original = tmp_path / "out.csv", Scorer.finish

    def finish(self: Scorer, chunk: Any) -> Any:
        shutil.rmtree(f"{out}.partial", ignore_errors=True)
        return original(self, chunk)

    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "finish", finish)
        stopped = run_score(folder, "-o", out, *common(package))
    assert stopped.exit_code == 1
    assert "cannot be written: No such file or directory" in stopped.stderr
    assert not out.exists()
    assert run_score(folder, "-o", out, *common(package)).exit_code == 0


def test_what_could_not_be_written_is_said_before_the_work(
    folder: Path, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dir.csv").mkdir()
    (tmp_path / "dir.md").mkdir()
    listed = tmp_path / "list.csv"
    listed.write_text("path\nphotos/red/0000.png\n")
    monkeypatch.setattr(Scorer, "finish", None)
    for arguments, code, message in (
        ([folder, "-o", tmp_path / "dir.csv"], 1, "is a folder: name a file in it"),
        ([folder, "-o", tmp_path / "a.csv", "--report", tmp_path / "no" / "r.md"], 1, "missing"),
        ([folder, "-o", tmp_path / "a.csv", "--report", tmp_path / "dir.md"], 1, "is a folder"),
        ([listed, "-o", listed, "--overwrite"], 2, "is also a source"),
        ([folder, "-o", "nowhere://a.csv"], 2, "cannot write nowhere://a.csv"),
    ):
        refused = run_score(*arguments, *common(package))
        assert refused.exit_code == code, refused.stderr
        assert refused.stderr.startswith("quincunx: error: ")
        assert message in refused.stderr
    assert "photos/red" in listed.read_text()


def test_a_runs_own_files_are_no_part_of_its_sources(
    folder: Path, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`quincunx score . -o out.parquet --report report.md --strict`, in the folder of images."""
    monkeypatch.chdir(folder)
    given = [".", "--report", "report.md", "--strict", *common(package)]
    stop_at("before", *given, out=Path("out.parquet"))
    for _ in range(3):
        ran = run_score(*given, "-o", "out.parquet", "--json")
        assert ran.exit_code == 0, ran.stderr
        summary = json.loads(ran.stdout)
        assert (summary["images"], summary["skipped"], summary["hidden"]) == (12, 0, 0)
    (folder / "notes.txt").touch()
    assert run_score(*given, "-o", "out.parquet").exit_code == 1
