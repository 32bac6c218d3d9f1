"""Fixtures that every kind of test shares: a tiny package and a predictor on it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from service.inference.predictor import Predictor
from tests.support.tiny import tiny_package

if "PYTEST_XDIST_WORKER" in os.environ:
    # Processes that run tests side by side share the cores: torch waits less with one thread each.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("busy", deadline=None)  # a busy machine fails no test
settings.load_profile("busy")


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of async tests: asyncio, as in the service."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Derived graphs go to a folder of the tests, not to that of the user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny package with fp32 and int8 graphs."""
    return tiny_package(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def predictor(package: Path) -> Predictor:
    """The tiny package, opened in fp32."""
    return Predictor.from_package(package, precision="fp32", provider="cpu", threads=1)


@pytest.fixture(scope="session")
def drawn_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of drawn images in three classes."""
    from tests.support.dataset import drawn_dataset

    return drawn_dataset(tmp_path_factory.mktemp("data"), train=10, val=2, side_px=100)


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory, drawn_data: Path) -> Path:
    """The finished run of a small untrained xresnet on `drawn_data`."""
    from tests.support.untrained import write_run

    return write_run(tmp_path_factory.mktemp("runs") / "untrained", drawn_data)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, run_folder: Path, drawn_data: Path) -> Path:
    """The model package of `run_folder`, int8 included. Read only: copy it to change it."""
    from training.export.export import export_package

    folder = tmp_path_factory.mktemp("models") / "untrained"
    return export_package(run_folder, folder, drawn_data, log=lambda _: None)
