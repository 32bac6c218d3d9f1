"""A machine that is short of something ends a run, which goes on later; no image is blamed."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.scoring.sources import every_kind
from service.errors import OutOfResources
from service.inference.predictor import Predictor
from tests.support.scoring import (
    image_folder,
    interrupted,
    read_rows,
    run_score,
)
from tests.support.tiny import tiny_package


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return image_folder(tmp_path / "photos", each=8, side_px=64)


def common(package: Path) -> list[object]:
    return ["--model", package, "--no-timing", "--chunk-images", 4]


def failing_from(call: int, error: BaseException, original: Callable[..., Any]) -> Any:
    """`original`, until it is called that often."""
    calls = 0

    def failing(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls >= call:
            raise error
        return original(*given, **named)

    return failing


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "memory ran out; "),
        (OutOfResources("memory ran out while the image was decoded"), "memory ran out while"),
        (RuntimeError("can't start new thread"), "no thread can be started; "),
    ],
)
def test_what_runs_out_ends_the_run_and_blames_no_image(
    folder: Path,
    package: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    message: str,
) -> None:
    out, whole = tmp_path / "out.parquet", tmp_path / "whole.parquet"
    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "open_image", failing_from(17, error, Predictor.open_image))
        stopped = run_score(folder, "-o", out, *common(package))
    assert stopped.exit_code == 1
    assert message in stopped.stderr
    assert len(stopped.stderr.splitlines()) == 1
    assert not out.exists()
    assert run_score(folder, "-o", out, *common(package)).exit_code == 0
    assert run_score(folder, "-o", whole, *common(package)).exit_code == 0
    assert out.read_bytes() == whole.read_bytes()
    assert not [row for row in read_rows(out) if row["error"]]


def test_open_files_that_run_out_end_the_run(
    folder: Path, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.parquet"
    refused = failing_from(1, OSError(24, "Too many open files"), open)

    def opening(path: Any, *given: Any, **named: Any) -> Any:
        return (refused if str(path).endswith("green/0005.png") else open)(path, *given, **named)

    with monkeypatch.context() as patch:
        patch.setattr("service.scoring.files.open", opening, raising=False)
        stopped = run_score(folder, "-o", out, *common(package))
    assert stopped.exit_code == 1
    assert "green/0005.png cannot be read: Too many open files; " in stopped.stderr
    assert "ulimit -n" in stopped.stderr
    assert run_score(folder, "-o", out, *common(package)).exit_code == 0
    assert not [row for row in read_rows(out) if row["error"]]


def test_sixty_four_open_files_are_enough(package: Path, tmp_path: Path) -> None:
    photos = image_folder(tmp_path / "photos", each=4, side_px=64)
    sources = every_kind(tmp_path / "sources", photos, ".png").values()
    out = tmp_path / "out.parquet"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    given = [*sources, "-o", out, *common(package), "--decode-threads", 4, "--threads", 2]
    ran = subprocess.run(
        [sys.executable, "-m", "service.cli", "score", *map(str, given)],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert ran.returncode == 0, ran.stderr
    assert not [row for row in read_rows(out) if row["error"]]


def test_a_package_that_changed_does_not_go_on(folder: Path, tmp_path: Path) -> None:
    model, out = tiny_package(tmp_path / "model"), tmp_path / "out.parquet"
    interrupted(folder, *common(model), out=out)
    tiny_package(model, version="2")
    refused = run_score(folder, "-o", out, *common(model))
    assert refused.exit_code == 1
    assert "manifest_sha256 was " in refused.stderr
    assert "package was tiny 1, now tiny 2" in refused.stderr
    assert "--restart" in refused.stderr
    assert not out.exists()


def test_a_library_that_changed_does_not_go_on(
    folder: Path, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.parquet"
    interrupted(folder, *common(package), out=out)
    monkeypatch.setattr("onnxruntime.__version__", "1.0")
    refused = run_score(folder, "-o", out, *common(package))
    assert refused.exit_code == 1
    assert "libraries.onnxruntime was " in refused.stderr
    assert "--restart" in refused.stderr
