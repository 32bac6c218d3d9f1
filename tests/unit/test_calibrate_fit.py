"""`calibrate --fit` changes how photos become squares, and what says so."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from service import cli
from service.errors import UsageError
from service.package.card.document import render
from service.package.package import ModelPackage
from service.package.recorded.settings import lines
from service.package.verify import check_statements
from tests.support.images import COLOURS, coloured, encoded
from tests.support.measured import record
from tests.support.packages import edit_manifest
from tests.support.tiny import tiny_package
from training.export.refit import with_fit


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def photos(folder: Path, wide: int) -> Path:
    """Photos of 90 px height; one in seven is mislabelled, so that there is something to fit."""
    names = list(COLOURS)
    for index in range(51):
        shown = names[(index + (index % 7 == 0)) % 3]
        path = folder / names[index % 3] / f"{index:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(coloured(shown, 90, wide, seed=index)))
    return folder


@pytest.fixture(scope="module", name="wide")
def _wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos(tmp_path_factory.mktemp("wide"), 200)


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    return record(tiny_package(tmp_path / "tiny", int8=False))


def calibration_of(folder: Path) -> dict[str, Any]:
    return {
        f"{one.precision} {one.mode}": one.model_dump()
        for one in ModelPackage.load(folder).manifest.calibration
    }


def test_a_new_fit_is_calibrated_and_said(folder: Path, wide: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    done = run("calibrate", folder, wide, "--fit", "squash", "--version", "8")
    assert done.exit_code == 0, done.output
    assert "metrics dropped, because the answers changed" in done.stderr
    assert "input.fit is squash (before: shorter_side)" in done.stderr
    package = ModelPackage.load(folder)
    assert (package.manifest.input.fit, package.manifest.version) == ("squash", "8")
    assert not package.manifest.metrics
    assert package.manifest.name == "tiny"
    assert (folder / "notes.txt").read_text() == "mine"
    check_statements(package)
    assert (
        "Images of every shape are squashed to 96×96 px (bilinear); crops"
        in (folder / "MODEL_CARD.md").read_text()
    )
    assert "squashed to 96×96 px (bilinear), crops" in lines(package, ["fp32"])[0]
    assert "photos squashed to 96×96 px, bilinear" in run("models", "show", folder).stdout
    assert json.loads(run("models", "show", folder, "--json").stdout)["input"]["fit"] == "squash"
    assert not [path for path in folder.parent.iterdir() if path.name.startswith(".")]


def test_it_is_the_calibration_of_a_package_that_had_the_fit(
    folder: Path, wide: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(folder, tmp_path / "other" / "tiny")
    edit_manifest(other, lambda content: content["input"].update(fit="squash"))
    assert run("calibrate", folder, wide, "--fit", "squash").exit_code == 0
    assert run("calibrate", other, wide).exit_code == 0
    assert calibration_of(folder) == calibration_of(other)
    assert ModelPackage.load(other).manifest.input.fit == "squash"  # without --fit, it stays


def test_square_photos_give_the_same_calibration(folder: Path, tmp_path: Path) -> None:
    square = photos(tmp_path / "square", 90)
    kept, squashed = tmp_path / "kept", tmp_path / "squashed"
    assert run("calibrate", folder, square, "--out", kept).exit_code == 0
    done = run("calibrate", folder, square, "--out", squashed, "--fit", "squash")
    assert done.exit_code == 0
    assert calibration_of(kept) == calibration_of(squashed)
    one, other = (ModelPackage.load(path).manifest for path in (kept, squashed))
    assert one.input.model_copy(update={"fit": "squash"}) == other.input
    assert (one.adaptive, one.default_mode) == (other.adaptive, other.default_mode)
    assert ModelPackage.load(folder).manifest.input.fit == "shorter_side"


def test_back_again(folder: Path, wide: Path) -> None:
    assert run("calibrate", folder, wide).exit_code == 0
    before = ModelPackage.load(folder).manifest
    for fit in ("squash", "shorter_side"):
        assert run("calibrate", folder, wide, "--fit", fit).exit_code == 0
    after = ModelPackage.load(folder).manifest
    assert after.model_copy(update={"metrics": ()}) == before.model_copy(update={"metrics": ()})


def test_the_same_fit_changes_nothing_else(folder: Path, wide: Path) -> None:
    assert run("calibrate", folder, wide, "--fit", "shorter_side").exit_code == 0
    kept = (folder / "manifest.json").read_bytes()
    assert run("calibrate", folder, wide).exit_code == 0
    assert (folder / "manifest.json").read_bytes() == kept


def test_a_calibration_that_fails_leaves_the_package(folder: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    broken = photos(tmp_path / "broken", 90)
    for path in broken.rglob("*.png"):
        path.write_bytes(b"no image")
    assert run("calibrate", folder, broken, "--fit", "squash").exit_code == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_change_by_another_command_is_not_lost(folder: Path) -> None:
    with (
        pytest.raises(UsageError, match="changed by another command"),
        with_fit(folder, "squash", lambda _: None),
    ):
        edit_manifest(folder, lambda content: content.update(version="5"))
    manifest = ModelPackage.load(folder).manifest
    assert (manifest.version, manifest.input.fit) == ("5", "shorter_side")


def test_a_manifest_of_version_1_becomes_one_of_version_2(tmp_path: Path) -> None:
    folder = tiny_package(tmp_path / "tiny")
    edit_manifest(folder, lambda m: (m.pop("graph"), m.update(schema_version=1)))
    with with_fit(folder, "squash", lambda _: None) as changed:
        assert ModelPackage.load(changed).manifest.schema_version == 2
    assert ModelPackage.load(folder).manifest.input.fit == "squash"


def test_only_unknown_keeps_the_fit(folder: Path, wide: Path) -> None:
    refused = run("calibrate", folder, wide, "--only-unknown", "--fit", "squash")
    assert refused.exit_code == 2
    assert "nor the fit" in refused.stderr


def test_the_card_of_a_package_that_keeps_shapes(folder: Path) -> None:
    assert "Images are resized so that the shorter side is 96 px (bilinear)" in render(
        ModelPackage.load(folder).manifest
    )
