"""`score --uncertain N`: the second file, after every kind of stop."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from service.scoring.result.journal import Journal
from tests.support.embedded import FOREIGN, unknown_package
from tests.support.images import encoded
from tests.support.scoring import image_folder, interrupted, read_rows, run_score
from tests.support.tiny import tiny_package


@pytest.fixture(name="package", scope="module")
def _package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_package(tmp_path_factory.mktemp("tiny") / "tiny")


@pytest.fixture(name="photos")
def _photos(tmp_path: Path) -> Path:
    photos = image_folder(tmp_path / "photos", each=3, side_px=64)
    red, green = (np.array(c, np.uint8) for c in ((200, 50, 50), (50, 200, 50)))
    mixed = np.where(np.arange(64)[None, :, None] < 32, red, green)
    mixed = np.broadcast_to(mixed, (64, 64, 3)).astype(np.uint8)
    (photos / "mixed.png").write_bytes(encoded(mixed))
    (photos / "broken.png").write_bytes(b"broken")
    return photos


def arguments(photos: Path, package: Path, n: int = 3) -> list[object]:
    return [photos, "--model", package, "--uncertain", n, "--no-timing", "--tta", "none"]


def test_the_most_uncertain_image_stands_first_in_every_format(
    photos: Path, package: Path, tmp_path: Path
) -> None:
    done = run_score(*arguments(photos, package), "-o", tmp_path / "out.parquet", "--json")
    assert done.exit_code == 0, done.stderr
    summary = json.loads(done.stdout)["uncertain"]
    assert summary == {"output": str(tmp_path / "out.uncertain.parquet"), "images": 3}
    rows = read_rows(tmp_path / "out.uncertain.parquet")
    assert rows[0]["path"].endswith("mixed.png")
    assert [row["why"] for row in rows] == ["margin"] * 3
    every = [row for row in read_rows(tmp_path / "out.parquet") if row["status"] == "ok"]
    least = sorted(every, key=lambda row: row["margin"])[:3]
    assert [row["path"] for row in rows] == [row["path"] for row in least]
    assert all(row["entropy"] > 0 for row in rows)

    for suffix in (".csv", ".jsonl", ".arrow"):
        assert run_score(*arguments(photos, package), "-o", tmp_path / f"o{suffix}").exit_code == 0
    with (tmp_path / "o.uncertain.csv").open(newline="") as stream:
        assert [row["path"] for row in csv.DictReader(stream)] == [row["path"] for row in rows]
    lines = (tmp_path / "o.uncertain.jsonl").read_text().splitlines()
    assert [json.loads(line)["path"] for line in lines] == [row["path"] for row in rows]


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_run_that_goes_on_picks_the_same(
    photos: Path, package: Path, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [*arguments(photos, package), "--chunk-images", 2]
    whole, out = tmp_path / f"whole{suffix}", tmp_path / f"out{suffix}"
    assert run_score(*options, "-o", whole).exit_code == 0
    expected = (tmp_path / f"whole.uncertain{suffix}").read_bytes()
    interrupted(*options, out=out)
    assert not (tmp_path / f"out.uncertain{suffix}").exists()
    with monkeypatch.context() as patch:  # killed when the second file is there, and the first not
        patch.setattr(Journal, "mark_done", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert run_score(*options, "-o", out).exit_code == 130
    assert not out.exists()
    assert (tmp_path / f"out.uncertain{suffix}").read_bytes() == expected
    done = run_score(*options, "-o", out)
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / f"out.uncertain{suffix}").read_bytes() == expected


def test_a_complete_result_gets_its_file_again_and_an_edited_file_stays(
    photos: Path, package: Path, tmp_path: Path
) -> None:
    out, picked = tmp_path / "out.parquet", tmp_path / "out.uncertain.parquet"
    options = [*arguments(photos, package), "-o", out]
    assert run_score(*options).exit_code == 0
    before = picked.read_bytes()
    picked.unlink()
    assert "complete already" in run_score(*options).stderr
    assert picked.read_bytes() == before
    pq.write_table(pq.read_table(picked).slice(0, 1), picked)
    edited = picked.read_bytes()
    done = run_score(*options)
    assert (done.exit_code, picked.read_bytes()) == (1, edited)
    assert "move it away" in done.stderr
    out.unlink()
    assert run_score(*options).exit_code == 1  # before any image is scored
    assert not out.exists()
    assert run_score(*options, "--overwrite").exit_code == 0
    assert picked.read_bytes() == before
    assert run_score(*arguments(photos, package, 2), "-o", out).exit_code == 1
    picked.unlink()
    assert run_score(*arguments(photos, package, 2), "-o", out).exit_code == 0
    assert len(read_rows(picked)) == 2


def test_own_files_are_no_sources_and_a_stream_has_no_second_file(
    photos: Path, package: Path
) -> None:
    out = photos / "out.parquet"
    assert run_score(*arguments(photos, package), "-o", out).exit_code == 0
    done = run_score(*arguments(photos, package), "-o", out, "--json")
    assert json.loads(done.stdout)["skipped"] == 0
    refused = run_score(*arguments(photos, package), "-o", "-")
    assert refused.exit_code == 2
    assert "--uncertain" in refused.stderr


def test_multi_label(photos: Path, tmp_path: Path) -> None:
    package = tiny_package(tmp_path / "multi", task="multi_label")
    out = tmp_path / "out.parquet"
    done = run_score(*arguments(photos, package), "-o", out)
    assert done.exit_code == 0, done.stderr
    margins = [row["margin"] for row in read_rows(tmp_path / "out.uncertain.parquet")]
    assert margins == sorted(margins)


def test_foreign_images_take_turns_with_uncertain_ones(photos: Path, tmp_path: Path) -> None:
    package = unknown_package(tmp_path / "knows")
    (photos / "white.png").write_bytes(encoded(FOREIGN))
    out = tmp_path / "out.parquet"
    done = run_score(photos, "--model", package, "--uncertain", 4, "--tta", "none", "-o", out)
    assert done.exit_code == 0, done.stderr
    rows = read_rows(tmp_path / "out.uncertain.parquet")
    assert [row["why"] for row in rows][:2] == ["margin", "unknown"]
    assert rows[1]["path"].endswith("white.png")
    assert all(row["unknown_score"] is not None for row in rows)
    off = tmp_path / "off.parquet"
    options = ("--uncertain", 4, "--tta", "none", "--known-rate", "off")
    assert run_score(photos, "--model", package, *options, "-o", off).exit_code == 0
    rows = read_rows(tmp_path / "off.uncertain.parquet")
    assert {row["why"] for row in rows} == {"margin"}
