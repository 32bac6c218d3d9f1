"""What a package's folder may hold: regular files inside it, verified as the bytes that are run."""

import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from service import cli
from service.errors import ModelPackageError
from service.inference.predictor import Predictor
from service.inference.runtime.session import Session, open_sessions
from service.package.package import ModelPackage, find, without_manifest
from service.package.verify import verify
from tests.support.images import coloured
from tests.support.packages import edit_manifest
from tests.support.tiny import tiny_package


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_package(tmp_path / "tiny", int8=False)


def refused(folder: Path, message: str) -> None:
    with pytest.raises(ModelPackageError, match=message) as caught:
        ModelPackage.load(folder)
    assert "\n" not in str(caught.value)


def test_another_size_or_another_content_is_an_alteration(folder: Path) -> None:
    graph = folder / "model.onnx"
    data = graph.read_bytes()
    graph.write_bytes(data + b"\0")
    refused(folder, f"model.onnx was altered: it has {len(data) + 1} bytes, the manifest says")
    graph.write_bytes(data[:-1] + b"\0")
    refused(folder, "model.onnx was altered: its sha256 is")


def test_a_graph_may_be_a_link_inside_the_folder(folder: Path) -> None:
    """As in a volume of Kubernetes: model.onnx -> ..data/model.onnx, ..data -> ..2024/."""
    (folder / "..2024").mkdir()
    for name in ("model.onnx", "manifest.json"):
        (folder / name).rename(folder / "..2024" / name)
        (folder / name).symlink_to(f"..data/{name}")
    (folder / "..data").symlink_to("..2024")
    verify(folder)


@pytest.mark.parametrize("name", ["model.onnx", "manifest.json"])
def test_a_link_out_of_the_folder_is_refused(folder: Path, name: str) -> None:
    outside = folder.parent / "outside"
    (folder / name).rename(outside)
    (folder / name).symlink_to(outside)
    refused(folder, f"{name} is a link to .*outside, outside of the package")


def test_the_folder_itself_may_be_a_link(folder: Path) -> None:
    link = folder.parent / "current"
    link.symlink_to(folder)
    verify(link)


@pytest.mark.parametrize("name", ["model.onnx", "manifest.json"])
def test_what_is_no_file_does_not_hang(folder: Path, name: str) -> None:
    path = folder / name
    path.unlink()
    refused(folder, "No such file")
    path.symlink_to(path.name)
    refused(folder, "cannot be read")
    path.unlink()
    os.mkfifo(path)
    refused(folder, "is not a regular file")
    path.unlink()
    path.mkdir()
    refused(folder, "is not a regular file|cannot be read")


def test_a_huge_manifest_is_not_read(folder: Path) -> None:
    with (folder / "manifest.json").open("r+b") as file:
        file.truncate(1 << 40)
    refused(folder, "manifest.json is over 16777216 bytes")


def test_a_file_that_changes_after_it_was_loaded_is_noticed(folder: Path) -> None:
    package = ModelPackage.load(folder)
    graph = folder / "model.onnx"
    graph.write_bytes(graph.read_bytes()[::-1])
    with pytest.raises(ModelPackageError, match="was altered"):
        package.read("fp32")


def test_what_was_verified_is_what_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is replaced between its verification and the opening of the session."""
    swapped: list[Path] = []

    def swap_then_open(path: Path, *args: Any, **options: Any) -> tuple[Session, ...]:
        path.write_bytes(b"another graph")
        swapped.append(path)
        return open_sessions(path, *args, **options)

    monkeypatch.setattr("service.inference.opening.open_sessions", swap_then_open)
    predictor = Predictor.from_package(folder, provider="cpu", threads=1)
    assert swapped
    assert predictor.classify([coloured("red")])[0].label == "red"
    assert predictor.classify([coloured("red")], "none")[0].label == "red"


def test_a_package_that_is_deleted_answers_on(folder: Path) -> None:
    predictor = Predictor.from_package(folder, provider="cpu", threads=1)
    (folder / "model.onnx").unlink()
    for mode in ("none", "five_crop", "dense"):
        assert predictor.classify([coloured("red")], mode)[0].label == "red"


def test_the_manifest_s_digest_is_of_what_was_read(folder: Path) -> None:
    before = ModelPackage.load(folder)
    edit_manifest(folder, lambda content: content.update(version="2"))
    after = ModelPackage.load(folder)
    assert before.manifest_sha256 != after.manifest_sha256
    assert len(after.manifest_sha256) == 64


def test_what_is_found_and_what_is_passed_over(tmp_path: Path) -> None:
    models = tmp_path / "models"
    for name in ("b", "a", ".hidden", "no-manifest"):
        tiny_package(models / name, int8=False)
    (models / "no-manifest" / "manifest.json").unlink()
    (models / "notes").mkdir()
    (models / "file").touch()
    (models / "broken").mkdir()
    (models / "broken" / "manifest.json").symlink_to("gone")
    (models / "link").symlink_to("a")
    assert [folder.name for folder in find(models)] == ["a", "b", "broken", "link"]
    assert without_manifest(models) == [models / "no-manifest"]
    assert find(tmp_path / "none") == find(models / "file") == []
    listed = CliRunner().invoke(cli.app, ["models", "list", str(models)])
    assert listed.exit_code == 1  # of what is broken
    assert "skipped" in listed.stderr
    assert "no-manifest: it has a graph, but no manifest.json" in listed.stderr


@pytest.mark.parametrize(
    "name", ["12:30", "a b", " ", "[x]", "ünï", os.fsdecode(b"\xff\xfe"), "new\nline", "*?", "-x"]
)
def test_any_name_of_a_folder_works(tmp_path: Path, name: str) -> None:
    folder = tiny_package(tmp_path / name / "m", int8=False)
    predictor = Predictor.from_package(folder, provider="cpu", threads=1)
    assert predictor.classify([coloured("blue")])[0].label == "blue"
