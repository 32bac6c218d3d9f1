"""`make serve` installs the libraries of CUDA where there is an NVIDIA driver."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    shutil.which("make") is None or platform.machine() != "x86_64", reason="needs make, x86-64"
)


def planned(path: str, *arguments: str) -> str:
    done = subprocess.run(
        ["make", "-n", "serve", "VENV=no-such-venv", *arguments],
        cwd=ROOT, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def test_an_nvidia_driver_brings_the_extra(tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    with_driver = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    assert "--editable '.[cuda]'" in planned(with_driver)
    assert "no-such-venv/.serving-cuda" in planned(with_driver)
    assert "--editable '.'" in planned(with_driver, "CUDA=")


@pytest.mark.skipif(
    shutil.which("nvidia-smi") is not None or Path("/proc/driver/nvidia/version").exists(),
    reason="there is an NVIDIA driver",
)
def test_without_a_driver_nothing_more_is_installed() -> None:
    assert "--editable '.'" in planned(os.environ["PATH"])
