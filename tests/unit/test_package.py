"""Writing a package: what is never destroyed unasked, and what an interrupted export leaves."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.errors import UsageError
from service.package.package import find
from training.export.writer import check_replaceable, check_version, is_unfinished_export, replacing

RECIPE = {"summary": "a recipe"}


def write(folder: Path, **content: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    provenance = {"recipe": RECIPE}
    (folder / "manifest.json").write_text(json.dumps({"provenance": provenance, **content}))
    return folder


def test_a_fitted_package_is_replaced_only_when_asked_for(tmp_path: Path) -> None:
    package = write(tmp_path / "mine", calibration=[{}], metrics=[{}], default_mode="adaptive")
    with pytest.raises(
        UsageError, match=r"drop its calibration, metrics and its default mode \(adaptive\).*--over"
    ):
        check_replaceable(package, overwrite=False)
    check_replaceable(package, overwrite=True)
    assert not is_unfinished_export(package, RECIPE)


def test_any_package_and_any_other_folder_is_kept(tmp_path: Path) -> None:
    check_replaceable(tmp_path / "none", overwrite=False)
    check_replaceable(tmp_path, overwrite=False)  # an empty folder
    package = write(tmp_path / "plain")
    with pytest.raises(UsageError, match="holds a model package: name another"):
        check_replaceable(package, overwrite=False)
    (package / "manifest.json").write_text("cut sho")
    with pytest.raises(UsageError, match="holds a model package: name another"):
        check_replaceable(package, overwrite=False)
    (package / "manifest.json").rename(package / "notes.txt")
    with pytest.raises(UsageError, match="is not a model package"):
        check_replaceable(package, overwrite=True)


@pytest.mark.parametrize("name", ["My Model", "modèle", "m" * 65, "_m", "a:b"])
def test_a_name_that_no_package_can_have_is_refused_before_any_work(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(UsageError, match="a package has the name of its folder"):
        check_replaceable(tmp_path / name, overwrite=True)


@pytest.mark.parametrize("version", ["v1", "1.2.3.4", "", "1.", "1\n"])
def test_a_version_that_no_package_can_have_is_refused(version: str) -> None:
    check_version("1.4.0")
    with pytest.raises(UsageError, match="a version is one to three numbers"):
        check_version(version)


def test_an_export_that_was_stopped_before_calibration_may_go_on(tmp_path: Path) -> None:
    package = write(tmp_path / "mine")
    assert is_unfinished_export(package, RECIPE)
    assert not is_unfinished_export(package, {"summary": "another"})
    assert not is_unfinished_export(tmp_path / "none", RECIPE)


@pytest.mark.parametrize("error", [ValueError("refused"), KeyboardInterrupt()])
def test_an_export_that_ends_early_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    models = tmp_path / "models"

    def export() -> None:
        with replacing(models / "mine") as new:
            write(new)
            raise error

    with pytest.raises(type(error)):
        export()
    assert list(models.iterdir()) == []


def test_what_a_killed_export_left_is_not_served_and_is_removed_by_the_next(
    tmp_path: Path,
) -> None:
    models = tmp_path / "models"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    killed = write(models / f".mine.{ended.pid}.abc")
    running = write(models / f".mine.{os.getpid()}.abc")
    hidden = write(models / ".mine-of-somebody-else")
    assert find(models) == []
    with replacing(models / "mine") as new:
        write(new)
    assert find(models) == [models / "mine"]
    assert not killed.exists()
    assert running.exists()
    assert hidden.exists()
