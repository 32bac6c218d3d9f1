"""`--engine ray` on a local Ray: the rows of the local engine, and its errors."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.scoring import (
    image_folder,
    images_of,
    interrupted,
    read_rows,
    run_score,
    write_tar,
)

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="the [ray] extra is not installed"
)


def run_ray(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, from `folder`: Ray stays out of this one."""
    root = str(Path(__file__).parents[2])
    patience = {"RAY_raylet_start_wait_time_s": "240", "PYTHONPATH": root}
    return subprocess.run(
        [sys.executable, "-m", "service.cli", "score", *map(str, arguments), "--engine", "ray"],
        capture_output=True,
        text=True,
        timeout=480,
        cwd=folder,
        env=os.environ | patience,
    )


def test_the_rows_of_the_local_engine(
    tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several kinds of sources, relative paths, a resumed run, errors among the rows."""
    photos = image_folder(tmp_path / "photos", each=10, side_px=64)
    (photos / "green" / "bad.png").write_bytes(b"bad")
    members = [(f"{n}.png", path.read_bytes()) for n, path in enumerate(images_of(photos)[:5])]
    write_tar(tmp_path / "shard.tar", members)
    monkeypatch.chdir(tmp_path)
    options = ["--model", package, "--single", "--sha256", "--chunk-images", 4, "--no-timing"]
    sources = ["photos", "shard.tar", "photos/r*/000?.png"]
    local = run_score(*sources, "-o", "local.parquet", *options)
    assert local.exit_code == 0, local.stderr
    ran = run_ray(*sources, "-o", "ray.parquet", "--json", *options, folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["images"] == 31 + 5 + 10
    expected, got = read_rows(Path("local.parquet")), read_rows(Path("ray.parquet"))
    for left, right in zip(expected, got, strict=True):
        for name, value in left.items():
            if isinstance(value, float):
                assert right[name] == pytest.approx(value, abs=1e-5)
            else:
                assert right[name] == value


def test_a_run_goes_on_with_the_same_images_only(
    tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the local engine began, Ray finishes, after the same comparison with the sources."""
    photos = image_folder(tmp_path / "photos", each=4, side_px=64)
    members = [(f"{n}.png", path.read_bytes()) for n, path in enumerate(images_of(photos))]
    write_tar(tmp_path / "shard.tar", members)
    monkeypatch.chdir(tmp_path)
    given = ["photos", "shard.tar", "--model", package, "--chunk-images", 4, "--no-timing"]
    interrupted(*given, out=Path("out.parquet"), images=16)
    first = (photos / "blue" / "0000.png").read_bytes()
    (photos / "blue" / "0000.png").write_bytes(b"another")
    refused = run_ray(*given, "-o", "out.parquet", folder=tmp_path)
    assert refused.returncode == 1, refused.stderr
    assert "photos has changed: image 1 (photos/blue/0000.png) has other content" in refused.stderr
    (photos / "blue" / "0000.png").write_bytes(first)
    ran = run_ray(*given, "-o", "out.parquet", "--json", folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    summary = json.loads(ran.stdout)
    assert (summary["images"], summary["ok"], summary["resumed_from"]) == (24, 24, 16)
    again = run_score(*given, "-o", "out.parquet", "--json")
    assert json.loads(again.stdout)["complete_already"] is True, again.stderr


def test_standard_input_is_refused(package: Path, tmp_path: Path) -> None:
    ran = run_ray("-", "-o", "out.csv", "--model", package, folder=tmp_path)
    assert ran.returncode == 2, ran.stderr
    assert "cannot read standard input" in ran.stderr
    assert not list(tmp_path.iterdir())
