"""docs/tutorials.md and docs/python.md run from top to bottom; docs/cli.md has every command."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.cli import COMMANDS, load
from tests.support.images import coloured, drawn, encoded
from tests.support.server import Server, serving
from tests.support.shipped import ROOT, SHIPPED

SECONDS = re.compile(r"--seconds \d+")


def text_of(page: str) -> str:
    return (ROOT / "docs" / page).read_text("utf-8")


def blocks(page: str) -> list[tuple[str, str]]:
    """The language and the code of every block that runs, in order."""
    return re.findall(r"^```(sh|python)\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a reader of the pages has."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "photo.jpg").write_bytes(encoded(drawn(300, 400), "JPEG"))
    for name in ("photos", "labelled/church", "labelled/n01440764"):
        (folder / name).mkdir(parents=True)
        for number, colour in enumerate(("red", "green")):
            data = encoded(coloured(colour, 240, 320), "JPEG")
            (folder / name / f"{number}.jpg").write_bytes(data)
    (folder / "bin").mkdir()
    program = folder / "bin" / "quincunx"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m service.cli "$@"\n')
    program.chmod(0o755)
    return folder


@pytest.fixture(scope="module", name="server")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving([SHIPPED], tmp_path_factory.mktemp("served"), precision="int8") as running:
        yield running


def run(language: str, code: str, folder: Path, url: str) -> subprocess.CompletedProcess[str]:
    code = SECONDS.sub("--seconds 1 --min-rounds 2", code).replace("http://127.0.0.1:3000", url)
    command = ["bash", "-ec", code] if language == "sh" else [sys.executable, "-c", code]
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_the_tutorials_run_in_order(folder: Path, server: Server) -> None:
    for language, code in blocks("tutorials.md"):
        done = run(language, code, folder, server.url)
        assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
        assert done.stdout.strip() or done.stderr.strip(), code
    assert (folder / "answers.csv").read_text().count("\n") == 3  # a header and two photos
    assert (folder / "answers.parquet").exists()
    assert "corrected" in (folder / "report" / "report.md").read_text()


def test_the_python_page_runs_in_order(folder: Path) -> None:
    code = "\n".join(code for _, code in blocks("python.md"))
    done = run("python", code, folder, "")
    assert done.returncode == 0, done.stderr
    assert "refused:" in done.stdout
    assert (folder / "answer.png").exists()


def test_the_python_page_has_every_public_name() -> None:
    import quincunx

    for name in dir(quincunx):
        assert name == "__version__" or f"`{name}`" in text_of("python.md"), name


def test_the_page_of_commands_has_every_command() -> None:
    text = text_of("cli.md")
    for name in COMMANDS:
        row = next((line for line in text.splitlines() if f"`quincunx {name}" in line), None)
        assert row is not None, name
        for inner in getattr(load(name), "commands", {}):
            assert re.search(rf"\b{inner}\b", row), f"{name} {inner}"


@pytest.mark.parametrize("page", ["tutorials.md", "cli.md", "python.md"])
def test_links_lead_to_pages(page: str) -> None:
    for target in re.findall(r"\]\(([\w./-]+)\)", text_of(page)):
        assert (ROOT / "docs" / target).exists(), target
