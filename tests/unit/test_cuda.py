"""What a GPU lacks is named: at `auto` in one line, at `cuda` before anything starts."""

import logging
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ports import free_port
from service.api.server import launch, preflight
from service.api.server.preflight import check_packages, say_where
from service.errors import UsageError
from service.inference.runtime import cuda, providers
from service.settings import Settings
from tests.support.fake_cuda import FakeDriver, FakeLoad
from tests.support.tiny import tiny_package


@pytest.fixture(autouse=True)
def _a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux, a GPU's device, and an onnxruntime that is built with CUDA."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(cuda, "has_gpu", lambda: True)
    monkeypatch.setattr(cuda, "preload", lambda: None)
    monkeypatch.setattr(cuda.ort, "get_available_providers", lambda: [*providers.NAMES.values()])
    providers._warn_once.cache_clear()


def fake(monkeypatch: pytest.MonkeyPatch, load: FakeLoad) -> None:
    monkeypatch.setattr(cuda, "look", partial(cuda.look, load))


MISSING = [
    (FakeLoad(absent=[cuda.DRIVER]), "the NVIDIA driver (libcuda.so.1)"),
    (FakeLoad(absent=[cuda.RUNTIME]), cuda.RUNTIME),
    (FakeLoad(absent=[cuda.CUDNN]), cuda.CUDNN),
    (FakeLoad(absent=[cuda.DRIVER, cuda.CUDNN]), f"(libcuda.so.1), {cuda.CUDNN}"),
    (FakeLoad(FakeDriver(supports=12040)), "CUDA 13 (this one supports CUDA 12.4)"),
    (FakeLoad(FakeDriver(init_code=803)), "cuInit fails with code 803"),
    (FakeLoad(FakeDriver(gpus=0)), "the driver finds none"),
]


def test_everything_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, FakeLoad(FakeDriver(gpus=2)))
    found = cuda.look()
    assert found.usable
    assert (found.driver_cuda, found.cudnn) == ("13.1", "9.10.2")
    assert found.devices == ("Fake GPU 0, 80 GiB", "Fake GPU 1, 80 GiB")
    assert providers.choose("auto") == providers.choose("cuda") == "cuda"
    assert say_where(Settings()) == "cuda"


@pytest.mark.parametrize(("load", "name"), MISSING)
def test_auto_takes_the_cpu_and_one_line_names_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    load: FakeLoad,
    name: str,
) -> None:
    fake(monkeypatch, load)
    with caplog.at_level(logging.WARNING):
        assert {providers.choose("auto") for _ in range(3)} == {"cpu"}
    (record,) = caplog.records
    assert name in record.getMessage()
    assert say_where(Settings()) == "cpu"
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("quincunx: inference runs on the CPU: CUDA cannot be used. missing: ")
    assert name in line
    lacks_a_library = any(library in line for library in cuda.LIBRARIES)
    assert ("pip install 'quincunx[cuda]'" in line) == lacks_a_library


@pytest.mark.parametrize(("load", "name"), MISSING)
def test_cuda_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, load: FakeLoad, name: str
) -> None:
    fake(monkeypatch, load)
    folder = tiny_package(tmp_path / "tiny")
    with pytest.raises(UsageError, match="provider cuda was asked for") as caught:
        check_packages(Settings(packages=(folder,), provider="cuda"))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_workers_are_told_the_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    monkeypatch.setattr(launch, "_serve", lambda *_: started.append(launch.os.environ.copy()))
    monkeypatch.setenv("QUINCUNX_PACKAGES", str(tiny_package(tmp_path / "tiny")))
    for name in ("PROVIDER", "ALLOWED_HOSTS"):
        monkeypatch.setenv(f"QUINCUNX_{name}", "auto" if name == "PROVIDER" else "*")
    fake(monkeypatch, FakeLoad(absent=[cuda.CUDNN]))
    launch.launch({}, host="127.0.0.1", port=free_port(), workers=1)
    assert started[0]["QUINCUNX_PROVIDER"] == "cpu"


def test_the_cpu_needs_no_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "look", lambda: pytest.fail("it looked for a GPU"))
    assert providers.choose("cpu") == preflight.say_where(Settings(provider="cpu")) == "cpu"


@pytest.mark.parametrize("tf32", [True, False])
def test_channels_last_goes_with_tf32(tf32: bool) -> None:
    ((name, options),) = providers.settings("cuda", tf32=tf32)
    assert name == "CUDAExecutionProvider"
    assert options["use_tf32"] == options["prefer_nhwc"] == str(int(tf32))
