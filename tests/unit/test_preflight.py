"""What does not fit together is found out before any worker starts."""

import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ports import free_port
from service.api.server import launch
from service.api.server.preflight import check_packages, say_what_is_passed_over
from service.errors import ModelPackageError, QuincunxError, UsageError
from service.inference.runtime import cuda, providers
from service.package import shipped
from service.settings import Settings
from tests.support.packages import edit_manifest
from tests.support.tiny import tiny_package


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_package(tmp_path / "tiny")


def refused(kind: type[QuincunxError], message: str, *folders: Path, **settings: Any) -> None:
    with pytest.raises(kind, match=message) as caught:
        check_packages(Settings(packages=folders, provider="cpu", **settings))
    assert "\n" not in str(caught.value)


def test_every_package_is_named_in_order(folder: Path, tmp_path: Path) -> None:
    others = [tiny_package(tmp_path / name, version=name) for name in ("3", "2.1")]
    settings = Settings(packages=(*others, folder), provider="cpu")
    assert check_packages(settings) == ["tiny@3", "tiny@2.1", "tiny@1"]


def test_a_precision_that_a_package_lacks(folder: Path, tmp_path: Path) -> None:
    plain = tiny_package(tmp_path / "plain", int8=False, name="plain")
    refused(ModelPackageError, "plain has no int8 model", folder, plain, precision="int8")


def test_one_name_and_version_in_two_folders(folder: Path, tmp_path: Path) -> None:
    again = tiny_package(tmp_path / "again")
    message = "tiny@1 is served from .*/tiny and from .*/again"
    refused(UsageError, message, folder, again)
    link = tmp_path / "link"
    link.symlink_to(folder)
    refused(UsageError, "tiny@1 is served from .*/tiny and from .*/link", folder, link)
    refused(UsageError, "tiny@1 is served from", folder, folder)


def test_a_default_mode_that_the_served_precision_has_not_got(folder: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["default_mode"] = "adaptive"
        content["calibration"] = [c for c in content["calibration"] if c["precision"] == "int8"]

    edit_manifest(folder, change)
    refused(ModelPackageError, "default_mode is adaptive: .* at fp32", folder, precision="fp32")
    assert check_packages(Settings(packages=(folder,), provider="cpu")) == ["tiny@1"]


def test_a_cheaper_mode_that_no_package_has(folder: Path, tmp_path: Path) -> None:
    edit_manifest(folder, lambda content: content.update(calibration=[]))
    refused(UsageError, "QUINCUNX_DEGRADE=adaptive: no package", folder, degrade="adaptive")
    other = tiny_package(tmp_path / "other", name="other")
    settings = Settings(packages=(folder, other), provider="cpu", degrade="adaptive")
    assert check_packages(settings) == ["tiny@1", "other@1"]


def test_a_provider_without_its_device(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "has_gpu", lambda: False)
    monkeypatch.setattr(cuda.ort, "get_available_providers", lambda: [*providers.NAMES.values()])
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(UsageError, match=r"provider cuda was asked for, but .*an NVIDIA GPU"):
        check_packages(Settings(packages=(folder,), provider="cuda"))
    assert providers.choose("auto") == "cpu"


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_a_gpu_may_be_hidden(monkeypatch: pytest.MonkeyPatch, hidden: str) -> None:
    monkeypatch.setattr(Path, "glob", lambda *_: iter([Path("/dev/nvidia3")]))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert cuda.has_gpu()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert not cuda.has_gpu()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"API_KEYS_FILE": "/no/such/file"}, "QUINCUNX_API_KEYS_FILE: .*No such file"),
        ({"API_KEYS": "my key"}, "a key holds no space"),
        ({"MAX_IMAGES": "many"}, "QUINCUNX_MAX_IMAGES='many'"),
    ],
)
def test_settings_are_read_before_anything_is_opened(
    folder: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], message: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"QUINCUNX_{name}", value)
    monkeypatch.setenv("QUINCUNX_PACKAGES", str(folder))
    monkeypatch.setattr(launch, "check_packages", lambda _: pytest.fail("opened"))
    with pytest.raises(UsageError, match=message):
        launch.launch({}, host="127.0.0.1", port=free_port(), workers=1)


def test_a_folder_that_is_no_package_is_named_where_all_are_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    models = tmp_path / "models"
    for name in ("good", "half"):
        tiny_package(models / name, int8=False)
    (models / "half" / "manifest.json").unlink()
    monkeypatch.setattr(shipped, "MODELS", models)
    say_what_is_passed_over(Settings())
    assert "/models/half: it has a graph, but no manifest.json" in capsys.readouterr().err
    say_what_is_passed_over(Settings(packages=(models / "good",)))
    assert capsys.readouterr().err == ""
