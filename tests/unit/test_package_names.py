"""Every command takes a package by its folder, its name in models/, or NAME@VERSION."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service import cli
from service.api.server.models import package_folders
from service.errors import ModelPackageError
from service.inference.predictor import Predictor
from service.package import shipped
from service.package.shipped import complete_package, package_folder, package_or_run
from service.settings import Settings
from tests.support.images import coloured, encoded
from tests.support.tiny import tiny_package

run = CliRunner().invoke


@pytest.fixture(name="here")
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with models/own, whose manifest says tiny, and no other models/."""
    tiny_package(tmp_path / "models" / "own", int8=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shipped, "MODELS", tmp_path / "none")
    return tmp_path


def tag(folder: Path) -> str:
    manifest = json.loads((folder / "manifest.json").read_text())
    return f"{manifest['name']}@{manifest['version']}"


def test_a_folder_a_name_and_a_tag_are_the_same_package(here: Path) -> None:
    own = Path("models/own")
    for named in (own, here / own, "own", tag(own)):
        assert package_folder(named).resolve() == (here / own).resolve()
    assert package_or_run(Path("own")) == own
    assert package_or_run(Path("runs/own")) == Path("runs/own")


def test_the_folder_of_the_current_folder_comes_before_the_one_beside_the_code(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_package(here / "beside" / "own", int8=False)
    tiny_package(here / "beside" / "other", int8=False)
    monkeypatch.setattr(shipped, "MODELS", here / "beside")
    assert package_folder("own") == Path("models/own")
    assert package_folder("other") == here / "beside" / "other"


@pytest.mark.parametrize(
    ("named", "hint"),
    [
        ("onw", "no package of this name in models/; did you mean 'own'?"),
        ("models/onw", "no such folder; did you mean 'own'?"),
        ("zebra", "there are: own"),
        ("x" * 5000, ""),
        ("../elsewhere", "no such folder"),
    ],
)
def test_a_name_that_is_nowhere(here: Path, named: str, hint: str) -> None:
    with pytest.raises(ModelPackageError) as refused:
        Predictor.from_package(named)
    assert hint in str(refused.value)


def test_another_version_is_not_taken(here: Path) -> None:
    name = tag(Path("models/own"))
    with pytest.raises(ModelPackageError, match=f"did you mean '{name}'"):
        package_folder(f"{name}7")


def test_a_tag_of_two_packages_is_ambiguous(here: Path) -> None:
    folder = tiny_package(here / "models" / "twin", int8=False)
    manifest = json.loads((folder / "manifest.json").read_text())
    own = json.loads((here / "models/own/manifest.json").read_text())
    manifest |= {"name": own["name"], "version": own["version"]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelPackageError, match=r"several packages: models/own, models/twin"):
        package_folder(tag(folder))


def test_every_command_takes_a_name(here: Path) -> None:
    photo = encoded(coloured("red"))
    for part in ("data/red", "data/green", "data/blue"):
        (here / part).mkdir(parents=True)
        for number in range(2):
            (here / part / f"{number}.png").write_bytes(photo)
    name = tag(Path("models/own"))
    for command in (
        ["models", "show", name],
        ["models", "verify", name],
        ["classify", "data/red/0.png", "--model", name],
        ["score", "data", "-o", "out.csv", "--model", name],
        ["evaluate", name, "data", "--tta", "none"],
        ["bench", "latency", name, "--tta", "none", "--seconds", "0.1", "--min-rounds", "2"],
    ):
        done = run(cli.app, command)
        assert done.exit_code == 0, f"{command}\n{done.output}"
    for command in (
        ["evaluate", "gone", "data"],
        ["frontier", "gone", "data"],
        ["calibrate", "gone", "data"],
        ["serve", "gone"],
        ["bench", "latency", "gone"],
        ["bench", "mlperf", "gone"],
        ["export", "--add-fp16", "gone"],
        ["score", "data", "-o", "gone.csv", "--model", "gone"],
    ):
        done = run(cli.app, command)
        assert done.exit_code == 1, f"{command}\n{done.output}"
        assert "no model package in gone" in done.stderr
        assert "there are: own" in done.stderr


def test_a_setting_takes_a_name(here: Path) -> None:
    settings = Settings.from_environment({"QUINCUNX_PACKAGES": tag(Path("models/own"))})
    assert package_folders(settings) == (Path("models/own"),)


def test_a_shell_completes_names_and_folders(here: Path) -> None:
    (here / "other" / "inner").mkdir(parents=True)
    (here / ".hidden").mkdir()
    assert complete_package("o") == ["other/", "own"]
    assert complete_package("") == ["models/", "other/", "own"]
    assert complete_package("other/i") == ["other/inner/"]
    assert complete_package("gone/") == []
    line = {"COMP_WORDS": "quincunx evaluate ow", "COMP_CWORD": "2"}
    done = run(
        cli.app, [], prog_name="quincunx", env={"_QUINCUNX_COMPLETE": "complete_bash"} | line
    )
    assert done.stdout.split() == ["own"]


def test_the_list_has_every_package_that_a_name_finds(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def listed() -> list[str]:
        result = run(cli.app, ["models", "list", "--json"])
        assert result.exit_code == 0
        return [row["path"] for row in json.loads(result.stdout)]

    assert listed() == ["models/own"]
    beside = tiny_package(here / "beside" / "other", int8=False)
    monkeypatch.setattr(shipped, "MODELS", here / "beside")
    assert listed() == ["models/own", str(beside)]
    (here / "empty").mkdir()
    monkeypatch.chdir(here / "empty")
    assert listed() == [str(beside)]
    monkeypatch.setattr(shipped, "MODELS", here / "none")
    result = run(cli.app, ["models", "list"])
    assert (result.exit_code, result.stderr) == (1, "quincunx: error: no folder models\n")
