"""The server does what its OpenAPI document says: requests drawn from it, by Schemathesis."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.api.documentation.openapi import openapi
from tests.support.server import Server

SCHEMATHESIS = Path(sys.executable).parent / "schemathesis"
CONFIG = Path(__file__).parent / "schemathesis.toml"


@pytest.mark.parametrize("key", ["reload-key", ""], ids=["admin", "anybody"])
def test_every_check_of_schemathesis_passes(server: Server, key: str, tmp_path: Path) -> None:
    """With the admin key, under which models are reloaded meanwhile, and without."""
    command = [SCHEMATHESIS, "--config-file", CONFIG, "run", f"{server.url}/docs.json"]
    command += ["--checks", "all", "--max-examples", "40", "--seed", "0", "--no-color"]
    command += ["--request-timeout", "60", "--suppress-health-check", "all"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "API_KEY": key}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    count = sum(len(operations) for operations in openapi()["paths"].values())
    assert f"{count} selected / {count} total" in done.stdout
