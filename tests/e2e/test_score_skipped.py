"""`quincunx score` says what it did not score, everywhere it says what it did."""

import json
from pathlib import Path

import pytest

from service.scoring import score
from service.scoring.result import output
from tests.support.images import coloured, encoded
from tests.support.scoring import (
    image_folder,
    images_of,
    interrupted,
    read_rows,
    run_score,
    write_tar,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = image_folder(tmp_path / "photos", each=4, side_px=64)
    (folder / "red" / "notes.txt").write_text("no image")
    (folder / "green" / "list.txt").write_text("no image")
    (folder / ".DS_Store").write_text("x")
    return folder


def common(package: Path) -> list[object]:
    return ["--model", package, "--no-timing", "--tta", "none", "--chunk-images", 4]


def test_the_summary_counts_and_names_them(folder: Path, package: Path, tmp_path: Path) -> None:
    out, report = tmp_path / "out.parquet", tmp_path / "report.md"
    ran = run_score(folder, "-o", out, *common(package), "--json", "--report", report)
    assert ran.exit_code == 0, ran.output
    summary = json.loads(ran.stdout)
    assert (summary["images"], summary["skipped"], summary["hidden"]) == (12, 2, 1)
    names = [f"{folder}/green/list.txt", f"{folder}/red/notes.txt"]
    assert summary["skipped_by_reason"][".txt"] == {"files": 2, "first": names}
    assert "- skipped 2 files (.txt):" in report.read_text()
    again = run_score(folder, "-o", out, *common(package))
    assert "complete already" in again.stderr
    assert f"skipped 2 files (.txt): {names[0]}, {names[1]}" in again.stderr


def test_strict_fails_on_them(folder: Path, package: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    ran = run_score(folder, "-o", out, *common(package), "--strict")
    assert ran.exit_code == 1
    assert len(read_rows(out)) == 12
    assert run_score(folder, "-o", out, *common(package), "--strict").exit_code == 1  # complete
    for path in folder.rglob("*.txt"):
        path.unlink()
    again = run_score(folder, "-o", out, *common(package), "--strict")
    assert again.exit_code == 0, again.output  # a hidden file is no fault
    assert "hidden or system" in again.stderr


def test_the_stream_says_it_too(folder: Path, package: Path) -> None:
    ran = run_score(folder, "-o", "-", *common(package), "--strict")
    assert ran.exit_code == 1
    assert "skipped 2 files (.txt)" in ran.stderr
    assert len(ran.stdout.splitlines()) == 12


def test_a_run_that_goes_on_counts_every_source_once(
    folder: Path, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "PART_ROWS", 4)
    images = [(f"{n}.png", path.read_bytes()) for n, path in enumerate(images_of(folder))]
    tar = write_tar(tmp_path / "a.tar", [("readme.md", b"x"), *images])
    whole, out = tmp_path / "whole.parquet", tmp_path / "out.parquet"
    ran = run_score(tar, folder, "-o", whole, *common(package), "--json")
    interrupted(tar, folder, *common(package), out=out, images=16)
    again = run_score(tar, folder, "-o", out, *common(package), "--json")
    assert again.exit_code == 0, again.output
    first, second = json.loads(ran.stdout), json.loads(again.stdout)
    assert second["resumed_from"] >= 12  # the tar is not read again
    assert first["skipped"] == second["skipped"] == 3
    assert first["skipped_by_reason"] == second["skipped_by_reason"]
    assert out.read_bytes() == whole.read_bytes()


def test_a_folder_without_images_names_what_it_holds(package: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.txt").write_text("x")
    ran = run_score(tmp_path / "photos", "-o", tmp_path / "out.csv", *common(package))
    assert ran.exit_code == 1
    assert "there is no image" in ran.stderr
    assert "skipped 1 file (.txt)" in ran.stderr


def test_python_callers_can_ask(folder: Path, package: Path) -> None:
    (folder / "blue" / "photo").write_bytes(encoded(coloured("blue")))
    scored = score(folder, package, tta="none")
    assert sum(1 for _ in scored) == 13
    assert (scored.skipped.files, scored.skipped.hidden) == (2, 1)
