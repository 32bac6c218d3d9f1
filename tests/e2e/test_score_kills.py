"""Stopped at random moments, with every kind of source and of sink: the result is the same."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.scoring.killer import in_the_middle
from benchmarks.scoring.sources import every_kind
from tests.support.scoring import image_folder, images_of


@pytest.mark.parametrize(
    ("suffix", "stop", "stops"),
    [(".parquet", "KILL", 20), (".csv", "KILL", 20), (".jsonl", "TERM", 8), (".arrow", "INT", 8)],
)
def test_stopped_at_random_moments_the_result_is_the_same(
    tmp_path: Path, package: Path, suffix: str, stop: str, stops: int
) -> None:
    photos = image_folder(tmp_path / "photos", each=4, side_px=64)
    (photos / "green" / "0003.png").write_bytes(b"broken")
    sources = [*every_kind(tmp_path / "sources", photos, ".png").values(), "-"]
    out = tmp_path / "results" / f"out{suffix}"
    out.parent.mkdir()
    Path(f"{out}.stdin").write_text("".join(f"{path}\n" for path in images_of(photos)))
    killer = [sys.executable, "-m", "benchmarks.scoring.killer", str(stops), "1", stop]
    ran = subprocess.run(
        [*killer, package, out, *sources], capture_output=True, text=True, timeout=300
    )
    said = Path(f"{out}.stderr").read_text()
    assert ran.returncode == 0, f"{ran.stderr}\n{said[-2000:]}"
    report = json.loads(ran.stdout)
    assert report["code"] == 0
    assert "Traceback" not in said
    assert report["left"] == [
        f"out{suffix}", f"out{suffix}.stderr", f"out{suffix}.stdin",
        f"whole{suffix}", f"whole{suffix}.stderr",
    ]  # fmt: skip
    # Otherwise this test has shown nothing.
    assert in_the_middle(report["kills"]) >= stops // 4, report["kills"]
    assert out.read_bytes() == (out.parent / f"whole{suffix}").read_bytes()
