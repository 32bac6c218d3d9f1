"""Every command that the README shows runs, in the README's order, on drawn photos.

Training is made small by overrides that the README does not show; `make` is only planned, since one
of its targets runs this very test; servers listen on a port that is free.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from benchmarks.ports import free_port
from tests.support.dataset import drawn_dataset
from tests.support.images import coloured, encoded
from tests.support.server import Server, stop, wait_until_ready
from tests.support.shipped import ROOT, SHIPPED

README = (ROOT / "README.md").read_text()
SMALL = (
    "stage.1.epochs=1",
    "stage.1.size_px=32",
    "stage.1.grow_at=[]",
    "least_updates=0",
    "crop_px=64",
    "resize_px=96",
    "calibration_share=0.5",
    "batch_images=16",
)
QUICK = {
    "train": [part for value in SMALL for part in ("--set", value)],
    "bench": ["--seconds", "0.5", "--min-rounds", "2"],
    "frontier": ["--timed-images", "20", "--precision", "fp32"],
}
"""What is added to a command, so that it takes seconds."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """Those of the blocks, then those that stand in tables."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    rows = [line for line in README.splitlines() if line.startswith("| ")]
    lines += [code for row in rows for code in re.findall(r"`(quincunx [^`]*)`", row)]
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the README's reader has: a data set, a photo, and the shipped model."""
    folder = tmp_path_factory.mktemp("reader")
    drawn_dataset(folder / "DATA", train=36, val=4, side_px=90)
    (folder / "photo.jpg").write_bytes(encoded(coloured("red", 300, 400), "JPEG"))
    (folder / "models").mkdir()
    shutil.copytree(SHIPPED, folder / "models" / SHIPPED.name)
    return folder


def quincunx(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    extra = QUICK.get(arguments[0], [])
    return subprocess.run(
        [sys.executable, "-m", "service.cli", *arguments, *extra],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
    )


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}


def test_quincunx_commands_run_in_order(folder: Path) -> None:
    seen: list[str] = []
    for command in commands():
        if command[0] != "quincunx" or command[1] == "serve":
            continue
        done = quincunx(command[1:], folder)
        assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
        seen.append(command[1])
    assert {"train", "evaluate", "classify", "score", "bench", "frontier"} <= set(seen)
    assert (folder / "models" / "mine" / "manifest.json").exists()
    assert (folder / "scores.parquet").exists()
    assert (folder / "frontier" / "frontier.png").exists()


def test_curl_gets_an_answer_from_the_shipped_model(folder: Path, tmp_path: Path) -> None:
    (curl,) = (command for command in commands() if command[0] == "curl")
    port = free_port()
    log = tmp_path / "server.log"
    model = folder / "models" / SHIPPED.name
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "service.cli", "serve", str(model), "--port", str(port)],
            cwd=folder,
            env={**environment(), "BENTOML_HOME": str(tmp_path)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    server = Server(f"http://127.0.0.1:{port}", process, log)
    try:
        wait_until_ready(server)
        asked = [part.replace(":3000", f":{port}") for part in curl]
        done = subprocess.run(
            [*asked, "--silent"], cwd=folder, capture_output=True, text=True, check=True
        )
        answer = httpx.Response(200, text=done.stdout).json()
        assert answer["tta_applied"] == "five_crop", answer
        assert answer["name"] in README  # one of the ten classes that the README lists
    finally:
        stop(server)


def test_make_targets_exist() -> None:
    targets = [command[1] for command in commands() if command[0] == "make"]
    assert targets == ["serve", "test"]
    for target in targets:
        subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)


def test_the_library_example_runs(folder: Path) -> None:
    (example,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", example],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
