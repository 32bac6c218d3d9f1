"""`quincunx serve` says what is wrong before anything starts."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest


def serve(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service.cli", "serve", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=300,
    )


def test_an_unknown_setting_ends_it(package: Path) -> None:
    done = serve(str(package), QUINCUNX_MAX_PIXLES="5")
    assert done.returncode == 2
    assert "did you mean QUINCUNX_MAX_PIXELS?" in done.stderr


def test_no_package_ends_it(tmp_path: Path) -> None:
    done = serve(str(tmp_path))
    assert done.returncode == 1
    assert "no model package" in done.stderr


def test_an_altered_package_ends_it(tmp_path: Path) -> None:
    from tests.support.tiny import tiny_package

    folder = tiny_package(tmp_path / "tiny")
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"x")
    done = serve(str(folder))
    assert done.returncode == 1
    assert "was altered" in done.stderr


def test_a_taken_port_ends_it(package: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = serve(str(package), "--port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert "cannot listen on" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("option", ["--port=0", "--provider=abacus", "--workers=0"])
def test_a_senseless_option_ends_it(package: Path, option: str) -> None:
    assert serve(str(package), option).returncode == 2
