"""A worker whose GPU fails for good ends; after another failure it goes on."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from service.api.server.models import Models
from service.api.server.watched_session import WatchedSession
from service.errors import InferenceFailed
from service.inference.runtime.session import Session
from service.scheduler.admission import NullObserver
from service.settings import Settings
from tests.support.tiny import tiny_package

VIEWS = np.zeros((2, 64, 64, 3), np.uint8)


class FakeSession:
    """Fails as long as it is told to."""

    def __init__(self, *, works: bool) -> None:
        self._works = works
        self.asked = 0

    def works(self) -> bool:
        self.asked += 1
        return self._works

    def run(self, *_: Any) -> Any:
        raise InferenceFailed("CUDA failure 700: an illegal memory access was encountered")

    def run_with_embedding(self, *_: Any) -> Any:
        raise InferenceFailed("CUDA failure 700: an illegal memory access was encountered")


@pytest.mark.parametrize("works", [True, False])
def test_the_worker_ends_once_if_the_session_works_no_more(works: bool) -> None:
    ended: list[int] = []
    fake = FakeSession(works=works)
    watched = WatchedSession(cast(Session, fake), lambda: ended.append(1))
    for ask in (watched.run, watched.run_with_embedding, watched.run):
        with pytest.raises(InferenceFailed, match="700"):
            ask(VIEWS, "logits")
    assert len(ended) == (not works)
    assert fake.asked == (3 if works else 1)


def test_a_session_that_answers_is_not_asked(tmp_path: Path) -> None:
    path = tiny_package(tmp_path / "tiny") / "model.onnx"
    session = Session.open(path, provider="cpu", io_binding=True)
    watched = WatchedSession(session, lambda: pytest.fail("it works"))
    np.testing.assert_array_equal(watched.run(VIEWS, "logits"), session.run(VIEWS, "logits"))
    assert session.works()
    with pytest.raises(InferenceFailed):
        watched.run(VIEWS[:, :, :, :2], "logits")  # two channels: this batch is wrong


def test_a_session_whose_batches_fail_does_not_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tiny_package(tmp_path / "tiny") / "model.onnx"
    session = Session.open(path, provider="cpu", io_binding=True)
    assert session.works()  # nothing has run, so nothing is known
    for _ in range(2):  # both runners
        session.run(VIEWS, "logits")

    class Broken:
        def run_with_iobinding(self, *_: Any) -> None:
            raise RuntimeError("CUDA failure 700")

    assert session.bound is not None
    for runner in session.bound._runners:  # pyright: ignore[reportPrivateUsage]
        monkeypatch.setattr(runner, "_session", Broken())
    assert not session.works()
    assert Session.open(path, provider="cpu").works()


def test_only_a_session_on_a_gpu_is_watched(tmp_path: Path) -> None:
    settings = Settings(packages=(tiny_package(tmp_path / "tiny"),))
    models = Models(settings, lambda _: NullObserver())
    predictor = models._open(tmp_path / "tiny")  # pyright: ignore[reportPrivateUsage]
    make = models._batcher  # pyright: ignore[reportPrivateUsage]
    assert isinstance(make(predictor)._session, Session)  # pyright: ignore[reportPrivateUsage]
    predictor.session.provider = "cuda"
    assert isinstance(make(predictor)._session, WatchedSession)  # pyright: ignore[reportPrivateUsage]
