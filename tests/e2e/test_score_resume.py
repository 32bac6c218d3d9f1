"""Nothing is lost: kills, interrupts, full disks, second runs, changed settings."""

import fcntl
import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from service.scoring.result import output
from tests.support.scoring import image_folder, read_rows, run_score
from tests.support.scoring import interrupted as interrupted_run


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "PART_ROWS", 4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return image_folder(tmp_path / "photos", each=8, side_px=64)


def common(package: Path) -> list[object]:
    return ["--model", package, "--no-timing", "--chunk-images", 4]


def interrupted(folder: Path, package: Path, out: Path) -> None:
    interrupted_run(folder, *common(package), out=out, images=8)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl", ".arrow"])
def test_an_interrupted_run_goes_on(
    folder: Path, package: Path, tmp_path: Path, suffix: str
) -> None:
    whole, out = tmp_path / f"whole{suffix}", tmp_path / f"out{suffix}"
    assert run_score(folder, "-o", whole, *common(package)).exit_code == 0
    interrupted(folder, package, out)
    again = run_score(folder, "-o", out, "--json", *common(package))
    summary = json.loads(again.stdout)
    assert summary["resumed_from"] == 8
    assert summary["images"] == 24
    assert summary["accuracy"]["top1"]["accuracy"] == 1.0
    assert out.read_bytes() == whole.read_bytes()
    assert not Path(f"{out}.partial").exists()


def test_other_settings_do_not_go_on(folder: Path, package: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    interrupted(folder, package, out)
    refused = run_score(folder, "-o", out, *common(package), "--tta", "dense", "--sha256")
    assert refused.exit_code == 1
    assert "options.inference.tta was five_crop, now dense" in refused.stderr
    assert "options.sha256 was False, now True" in refused.stderr
    assert "--restart" in refused.stderr
    anew = run_score(folder, "-o", out, *common(package), "--tta", "dense", "--restart", "--json")
    assert json.loads(anew.stdout)["resumed_from"] == 0
    assert len(read_rows(out)) == 24


def test_a_source_that_changed_does_not_go_on(folder: Path, package: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    interrupted(folder, package, out)
    (folder / "blue" / "0000.png").unlink()
    refused = run_score(folder, "-o", out, *common(package))
    assert refused.exit_code == 1
    assert "photos has changed: image 1 was" in refused.stderr
    assert not out.exists()


def test_two_runs_on_one_output_are_refused(folder: Path, package: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    interrupted(folder, package, out)
    with (tmp_path / "out.parquet.partial" / "lock").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        refused = run_score(folder, "-o", out, *common(package))
        assert refused.exit_code == 1
        assert f"another run is writing into {out}.partial" in refused.stderr
    assert run_score(folder, "-o", out, *common(package)).exit_code == 0


def test_a_finished_run_is_not_repeated_nor_overwritten(
    folder: Path, package: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.parquet"
    assert run_score(folder, "-o", out, *common(package)).exit_code == 0
    before = out.stat().st_mtime_ns
    again = run_score(folder, "-o", out, *common(package))
    assert again.exit_code == 0
    assert "is complete already: 24 images" in again.stderr
    other = run_score(folder, "-o", out, *common(package), "--tta", "none")
    assert other.exit_code == 1
    assert "exists already" in other.stderr
    assert out.stat().st_mtime_ns == before
    replaced = run_score(folder, "-o", out, *common(package), "--tta", "none", "--overwrite")
    assert replaced.exit_code == 0
    assert {row["passes"] for row in read_rows(out)} == {1}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.parquet", "photos"]


@pytest.mark.parametrize("moment", ["before the rename", "after the rename", "while removing"])
def test_killed_at_the_very_end(
    folder: Path, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The last steps, each cut off from the next."""
    from service.scoring.result.journal import Journal

    out = tmp_path / "out.csv"
    with monkeypatch.context() as patch:

        def die(*_: object) -> None:
            raise KeyboardInterrupt

        def half(journal: Journal) -> None:
            next(journal.folder.glob("part-*")).unlink()
            raise KeyboardInterrupt

        if moment == "before the rename":
            patch.setattr(output, "_publish", die)
        else:
            patch.setattr(Journal, "remove", die if moment == "after the rename" else half)
        assert run_score(folder, "-o", out, *common(package)).exit_code == 130
    assert out.exists() == (moment != "before the rename")
    assert run_score(folder, "-o", out, *common(package)).exit_code == 0
    assert len(out.read_text().splitlines()) == 25
    assert not Path(f"{out}.partial").exists()


def limited(limit_bytes: int) -> Callable[[], None]:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    return limit


def test_a_full_disk_is_said_and_survived(folder: Path, package: Path, tmp_path: Path) -> None:
    """A file that may not grow past a limit fails as one on a full disk does, in a real write."""
    out, whole = tmp_path / "out.parquet", tmp_path / "whole.parquet"
    arguments = [str(one) for one in (folder, "-o", out, *common(package))]
    interrupted(folder, package, out)
    full = subprocess.run(
        [sys.executable, "-m", "service.cli", "score", *arguments],
        preexec_fn=limited(3000),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert full.returncode == 1, full.stderr
    assert "cannot be written: File too large" in full.stderr
    assert "run the same command again" in full.stderr
    assert "Traceback" not in full.stderr
    assert not out.exists()
    summary = json.loads(run_score(*arguments, "--json").stdout)
    assert summary["resumed_from"] >= 8
    run_score(folder, "-o", whole, *common(package))
    assert out.read_bytes() == whole.read_bytes()


def test_no_space_left_keeps_the_parts(
    folder: Path, package: Path, tmp_path: Path, small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    from service.scoring.result import journal

    out = tmp_path / "out.parquet"
    original, written = journal.os.fsync, 0

    def fsync(number: int) -> None:
        nonlocal written
        written += 1
        if written > 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(number)

    with monkeypatch.context() as patch:
        patch.setattr(journal.os, "fsync", fsync)
        full = run_score(folder, "-o", out, *common(package))
    assert full.exit_code == 1
    assert "No space left on device. The finished rows are kept" in full.stderr
    assert not list(tmp_path.rglob("*.tmp"))
    summary = json.loads(run_score(folder, "-o", out, "--json", *common(package)).stdout)
    assert summary["resumed_from"] == 12
    assert len(read_rows(out)) == 24
