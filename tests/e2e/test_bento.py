"""`bentoml build` makes a bento, and `bentoml serve` on it answers."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx

from benchmarks.ports import free_port
from tests.support.images import coloured, encoded
from tests.support.server import Server, stop, wait_until_ready
from tests.support.shipped import ROOT, SHIPPED


def test_a_bento_is_built_and_serves(tmp_path: Path, package: Path) -> None:
    environment = os.environ | {
        "BENTOML_HOME": str(tmp_path / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "QUINCUNX_PACKAGES": str(package),
        "PYTHONPATH": "",
    }
    # A copy: what a user keeps beside the shipped model is nothing to this test.
    project = tmp_path / "project"
    shutil.copytree(ROOT / "service", project / "service")
    shutil.copytree(SHIPPED, project / "models" / SHIPPED.name)
    for name in ("bentofile.yaml", "pyproject.toml"):
        shutil.copy(ROOT / name, project)
    bentoml = [sys.executable, "-m", "bentoml"]
    built = subprocess.run(
        [*bentoml, "build", "--output", "tag"],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    tag = built.stdout.strip().rpartition("__tag__:")[2]
    source = next((tmp_path / "bentoml/bentos/quincunx").glob("*/src"))
    assert (source / "service/api/page/scripts/words.js").is_file()
    assert not (source / "training").exists()
    port = free_port()
    log = tmp_path / "bento.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*bentoml, "serve", tag, "--host", "127.0.0.1", "--port", str(port)],
            cwd=tmp_path,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    server = Server(f"http://127.0.0.1:{port}", process, log)
    try:
        wait_until_ready(server)
        files = {"image": encoded(coloured("blue"))}
        answer = httpx.post(f"{server.url}/classify", files=files, timeout=60)
        assert answer.json()["label"] == "blue"
        assert "<title>Quincunx</title>" in httpx.get(f"{server.url}/", timeout=60).text
    finally:
        stop(server)
