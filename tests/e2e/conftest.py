"""One real server for every end-to-end test that needs no settings of its own."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.server import Server, serving
from tests.support.tiny import tiny_package


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    packages = [
        tiny_package(folder / "tiny"),
        tiny_package(folder / "other", classes=5, name="other", version="2.1"),
    ]
    log = str(folder / "feedback")
    with serving(packages, folder, admin_keys="reload-key", feedback_folder=log) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


@pytest.fixture(scope="session")
def red(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with an image of the class `red`."""
    from tests.support.images import coloured, encoded

    path = tmp_path_factory.mktemp("images") / "red.png"
    path.write_bytes(encoded(coloured("red")))
    return path


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Threads that wait for each other on a busy machine cost more than they bring."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set of three classes, to train on."""
    from tests.support.dataset import drawn_dataset

    return drawn_dataset(tmp_path_factory.mktemp("data"))
