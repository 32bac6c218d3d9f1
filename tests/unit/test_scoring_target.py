"""OUT: one run at a time, whatever --work; and no finished file replaced without a word."""

import errno
import os
import re
from pathlib import Path
from typing import Any

import pytest

from service.errors import OutputError, UsageError
from service.scoring.result.target import Target
from service.scoring.sources import expand


@pytest.fixture
def result(tmp_path: Path) -> Path:
    path = tmp_path / "result"
    path.write_text("the result")
    return path


def refuse_to_lock(name: str) -> None:
    message = f"another run is writing into {re.escape(name)}"
    with pytest.raises(OutputError, match=message), Target(name).locked():
        pass


def test_two_runs_on_one_file_are_refused_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "latest.csv").symlink_to("out.csv")
    names = [f"{tmp_path}/out.csv", f"{tmp_path}/link/out.csv", f"{tmp_path}/latest.csv"]
    for first in names:
        for second in [*names, f"file://{tmp_path}/out.csv"]:
            with Target(first).locked(), Target(f"{tmp_path}/other.csv").locked():
                refuse_to_lock(second)
    assert not list(tmp_path.glob(".*"))


def test_a_url_is_locked_for_this_machine() -> None:
    with Target("memory://a/out.csv").locked():
        refuse_to_lock("memory://a/out.csv")


def test_a_lock_that_a_killed_run_left_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / ".out.csv.quincunx-lock").touch()
    with Target(f"{tmp_path}/out.csv").locked():
        pass
    assert not list(tmp_path.iterdir())


def test_a_disk_without_locks_still_replaces_nothing(
    tmp_path: Path, result: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    target = Target(f"{tmp_path}/out.csv")
    with target.locked():
        (tmp_path / "out.csv").write_text("another's")
        with pytest.raises(OutputError, match=r"out\.csv exists already.*--overwrite"):
            target.publish(result, replace=False)
    assert (tmp_path / "out.csv").read_text() == "another's"


def no_links(*_: object) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("other_disk", [True, False])
def test_publishing(
    tmp_path: Path, result: Path, monkeypatch: pytest.MonkeyPatch, links: bool, other_disk: bool
) -> None:
    """On disks with and without hard links, beside the journal and apart from it."""
    out, target = tmp_path / "out.csv", Target(f"{tmp_path}/out.csv")
    link, replace = os.link, Path.replace

    def across(move: Any) -> Any:
        def moved(source: Any, goal: Any) -> Any:
            if Path(source) == result:
                raise OSError(errno.EXDEV, "Invalid cross-device link")
            return move(source, goal)

        return moved

    if other_disk:
        monkeypatch.setattr(Path, "replace", across(replace))
    monkeypatch.setattr(os, "link", no_links if not links else across(link) if other_disk else link)
    target.publish(result, replace=False)
    assert out.read_text() == "the result"
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    result.write_text("the result")  # as where a run was killed just after the name was given
    target.publish(result, replace=False)
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    result.write_text("another")
    with pytest.raises(OutputError, match=r"out\.csv exists already"):
        target.publish(result, replace=False)
    assert out.read_text() == "the result"
    assert result.read_text() == "another"
    target.publish(result, replace=True)
    assert out.read_text() == "another"
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_a_link_is_written_through(tmp_path: Path, result: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "latest.csv").symlink_to("runs/1.csv")
    Target(f"{tmp_path}/latest.csv").publish(result, replace=True)
    assert (tmp_path / "latest.csv").is_symlink()
    assert (tmp_path / "runs" / "1.csv").read_text() == "the result"


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(OutputError, match=r"a\.csv is a folder: name a file in it"):
        Target(f"{tmp_path}/a.csv")
    os.mkfifo(tmp_path / "b.csv")
    with pytest.raises(OutputError, match=r"b\.csv is not a regular file"):
        Target(f"{tmp_path}/b.csv")
    with pytest.raises(UsageError, match=r"cannot write nowhere://b/c\.csv: "):
        Target("nowhere://b/c.csv")


def test_a_source_is_never_replaced(tmp_path: Path) -> None:
    listed = tmp_path / "list.csv"
    listed.write_text("path\na.png\n")
    (tmp_path / "link.csv").symlink_to(listed)
    for name in (listed, tmp_path / "link.csv"):
        with pytest.raises(UsageError, match=r"\.csv is also a source: it would be replaced"):
            Target(str(name), expand([str(listed)]))


def test_an_upload_that_fails_is_one_error(result: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    class Refused(Exception): ...

    def refuse(*_: object) -> None:
        raise Refused("no such bucket")

    memory = fsspec.filesystem("memory")
    monkeypatch.setattr(memory, "put_file", refuse)
    with pytest.raises(OutputError, match=r"Refused: no such bucket.*run the same command again"):
        Target("memory://a/out.csv").publish(result, replace=True)
    assert result.exists()
