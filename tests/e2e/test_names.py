"""Any file name and any class name goes through the real commands, in every locale."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service import cli
from service.console.text import shown, storable
from service.package.package import ModelPackage
from tests.support.images import coloured, encoded
from tests.support.names import NASTY
from tests.support.scoring import write_tar

LOCALES = {
    "strict UTF-8": {"PYTHONIOENCODING": "utf-8:strict"},
    "plain C": {"LC_ALL": "C"},
    "ASCII terminal": {"PYTHONIOENCODING": "ascii:strict"},
    "Latin-1 terminal": {"PYTHONIOENCODING": "latin-1"},
}
ASCII_NAMES = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
NAMES = (
    b"caf\xe9.png", "Zürich.png".encode(), b"[red]x:smile:.png", b"\x1b]0;owned\x07.png",
    b"a|b.png", b'"quoted".png', "猫 `x`.png".encode(),
)  # fmt: skip


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in NAMES:
        path = os.fsencode(folder) + b"/" + name
        with open(path, "wb") as file:
            file.write(encoded(coloured("red")))
    return folder


def run(
    locale: str, folder: Path, *arguments: object, stdin: bytes = b""
) -> "subprocess.CompletedProcess[bytes]":
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG"))}
    paths = [str(Path(cli.__file__).parents[1]), environment.get("PYTHONPATH", "")]
    environment |= {"PYTHONPATH": os.pathsep.join(paths), **LOCALES.get(locale, ASCII_NAMES)}
    ran = subprocess.run(
        [sys.executable, "-m", "service.cli", *map(str, arguments)],
        cwd=folder, env=environment, input=stdin, capture_output=True, timeout=120,
    )  # fmt: skip
    assert b"Traceback" not in ran.stderr, ran.stderr.decode(errors="replace")
    assert not set(b"\x1b\x07") & set(ran.stdout + ran.stderr)
    return ran


def expected() -> set[str]:
    return {storable(os.fsdecode(name)) for name in NAMES}


def test_a_locale_without_utf8_shows_the_same_names(photos: Path, package: Path) -> None:
    """Where Python itself reads names as ASCII, their bytes are still what is shown."""
    out = photos.parent / "out.csv"
    ran = run("ASCII names", photos, "score", ".", "-o", out, "--model", package, "--tta", "none")
    assert ran.returncode == 0, ran.stderr
    with out.open(encoding="utf-8", newline="") as text:
        assert {row["path"] for row in csv.DictReader(text)} == expected()


@pytest.mark.parametrize("locale", LOCALES)
def test_classify_answers_for_every_name(photos: Path, package: Path, locale: str) -> None:
    names = [os.fsdecode(name) for name in NAMES]
    common = ["--model", package, "--tta", "none"]
    ran = run(locale, photos, "classify", *names, *common, "--json")
    assert ran.returncode == 0, ran.stderr
    assert {row["file"] for row in json.loads(ran.stdout)} == expected()
    ran = run(locale, photos, "classify", *names, "missing-\udce9.png", *common)
    assert ran.returncode == 1
    assert ran.stdout.count(b".png") == len(NAMES)
    assert b"missing-\\xe9.png: No such file" in ran.stderr


@pytest.mark.parametrize("locale", ["strict UTF-8", "plain C"])
def test_score_reads_names_from_standard_input(
    photos: Path, package: Path, tmp_path: Path, locale: str
) -> None:
    out = tmp_path / "out.csv"
    stdin = b"".join(b"./%s\n" % name for name in NAMES)
    common = ["--model", package, "--tta", "none", "--json"]
    ran = run(locale, photos, "score", "-", "-o", out, *common, stdin=stdin)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["ok"] == len(NAMES)
    with out.open(encoding="utf-8", newline="") as text:
        rows = list(csv.DictReader(text))
    assert {row["path"].removeprefix("./") for row in rows} == expected()


def test_a_tar_of_such_names_that_breaks_off_is_rows_and_goes_on(
    package: Path, tmp_path: Path
) -> None:
    members = [(os.fsdecode(name), encoded(coloured("red"))) for name in NAMES]
    tar = write_tar(tmp_path / "photos.tar", members)
    tar.write_bytes(tar.read_bytes()[:-11_000])
    out = tmp_path / "out.jsonl"
    arguments = ["score", tar, "-o", out, "--model", package, "--overwrite", "--json"]
    for _ in range(2):
        ran = run("strict UTF-8", tmp_path, *arguments)
        assert ran.returncode == 0, ran.stderr
        summary = json.loads(ran.stdout)
        assert summary["failed"] == 1
        *good, broken = [json.loads(line) for line in out.read_bytes().splitlines()]
        assert {row["path"].rpartition(".tar/")[2] for row in good} < expected()
        assert "breaks off" in broken["error"]


@pytest.fixture
def nasty_package(package: Path, tmp_path: Path) -> Path:
    """A package whose every free text is hostile."""
    folder = shutil.copytree(package, tmp_path / "models" / "cats [v2]")
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for label, name in zip(manifest["labels"], ("[/b]", "\x1b[2J", "a|b\n:smile:"), strict=True):
        label["name"] = name
    manifest["architecture"]["name"] = "net[/half]\x9b31m"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize("locale", ["strict UTF-8", "ASCII terminal"])
def test_models_are_listed_and_shown(nasty_package: Path, locale: str) -> None:
    root = nasty_package.parent
    ran = run(locale, root, "models", "list", root)
    assert b"cats [v2]" in ran.stdout
    assert b"net[/half]\\x9b31m" in ran.stdout
    ran = run(locale, root, "models", "show", nasty_package)
    assert rb"[/b], \x1b[2J, a|b\n:smile:" in ran.stdout
    ran = run(locale, root, "models", "show", nasty_package, "--json")
    assert json.loads(ran.stdout)["labels"][1]["name"] == "\x1b[2J"


def test_every_class_name_can_be_shown(package: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(coloured("red")))
    manifest = json.loads((package / "manifest.json").read_bytes())
    for name in filter(str.strip, map(storable, NASTY)):  # a manifest holds no blank name
        folder = shutil.copytree(package, tmp_path / "package", dirs_exist_ok=True)
        manifest["labels"][0]["name"] = name
        (folder / "manifest.json").write_text(json.dumps(manifest))
        assert ModelPackage.load(folder).manifest.labels[0].name == name
        for command in (
            ["models", "show", folder],
            ["classify", tmp_path / "a.png", "--model", folder],
        ):
            ran = CliRunner().invoke(cli.app, list(map(str, command)))
            assert ran.exit_code == 0, ran.output
            assert shown(name).strip() in ran.stdout
            assert "\x1b" not in ran.stdout
