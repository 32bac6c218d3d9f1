"""Rows on standard output, sources on standard input: what ends, ends with one line."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.scoring import image_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return image_folder(tmp_path / "photos", each=4, side_px=64)


def command(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "service.cli", "score", *map(str, arguments)]
    return subprocess.Popen(line, stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.parametrize("arguments", [["-o", "-"], ["-o", "out.csv", "--json"]])
def test_a_full_standard_output_is_one_line(
    folder: Path, package: Path, tmp_path: Path, arguments: list[str]
) -> None:
    with open("/dev/full", "w") as full, command(
        folder, *arguments, "--model", package, stdout=full, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    ) as ran:  # fmt: skip
        said = ran.communicate(timeout=120)[1]
    assert ran.returncode == 1
    assert "standard output cannot be written: No space left on device" in said
    assert "Traceback" not in said
    assert "Exception ignored" not in said


def test_a_stopped_stream_is_the_beginning_of_the_whole_one(
    folder: Path, package: Path, tmp_path: Path
) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"{path}\n" for path in sorted(folder.rglob("*.png"))) * 40)
    given = [listed, "-o", "-", "--model", package, "--no-timing", "--chunk-images", 4]
    with command(*given, stdout=subprocess.PIPE) as ran:
        whole = ran.communicate(timeout=120)[0]
    with command(*given, stdout=subprocess.PIPE) as ran:
        assert ran.stdout is not None
        first = ran.stdout.readline()
        ran.send_signal(signal.SIGKILL)
        rest = ran.stdout.read()  # not communicate(): it passes over what readline() has buffered
        ran.wait(timeout=120)
    assert ran.returncode == -signal.SIGKILL
    assert whole.startswith(first + rest)


def test_a_source_that_waits_does_not_hold_up_the_end(package: Path, tmp_path: Path) -> None:
    """`find … | quincunx score -`, and find waits for a disk."""
    given = ["-", "-o", tmp_path / "out.csv", "--model", package]
    with command(*given, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as ran:
        assert ran.stdin is not None
        ran.stdin.write(f"{tmp_path}/nowhere.png\n")
        ran.stdin.flush()
        work = tmp_path / "out.csv.partial"
        while not work.exists() and ran.poll() is None:
            pass
        ran.send_signal(signal.SIGTERM)
        assert ran.wait(timeout=120) == 143
        assert "stopped; the same command continues from here" in ran.stderr.read()  # type: ignore[union-attr]
