"""ONNX Runtime reports nothing to its makers, and keeps no files for that."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "module", ["service.inference.runtime.session", "service.inference.runtime.split_graph"]
)
def test_onnx_runtime_leaves_no_file_behind(module: str, tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("CI", "ORT_DISABLE_TELEMETRY")}
    environment |= {"TMPDIR": str(tmp_path), "HOME": str(tmp_path)}
    command = [sys.executable, "-c", f"import {module}"]
    subprocess.run(command, env=environment, check=True, timeout=120)
    assert not list(tmp_path.iterdir())
