"""A reload: links are followed, requests keep the models that they began with, old models go."""

import asyncio
import gc
import json
import shutil
import struct
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.api.server import models as module
from service.api.server.models import TRIES, Models
from service.errors import ModelPackageError, ShuttingDown
from service.inference.predictor import Predictor
from service.inference.runtime.session import Session
from service.scheduler.admission import NullObserver
from service.settings import Settings
from tests.support.app import in_process
from tests.support.images import coloured, encoded
from tests.support.tiny import tiny_package
from tests.support.waiting import until

RED = encoded(coloured("red"))
LIMIT_S = 60
OIP_HEAD = {
    "inputs": [
        {
            "name": "encoded",
            "datatype": "BYTES",
            "shape": [1],
            "parameters": {"binary_data_size": len(RED) + 4},
        }
    ]
}
HEAD = json.dumps(OIP_HEAD).encode()
PARTS = [("images", ("x.png", RED)) for _ in range(3)]


def form(files: Any) -> tuple[bytes, dict[str, str]]:
    request = httpx.Request("POST", "http://test", files=files)
    return request.read(), {"Content-Type": request.headers["Content-Type"]}


REQUESTS: dict[str, tuple[str, bytes, dict[str, str]]] = {
    "image": ("/classify", RED, {"Content-Type": "image/png"}),
    "form": ("/classify", *form({"image": RED})),
    "named in the query": ("/classify?model=tiny@1", RED, {"Content-Type": "image/png"}),
    "named in the form": ("/classify", *form([("image", RED), ("model", (None, "tiny@1"))])),
    "heat map": ("/classify?include=heatmap&heatmap=numbers", RED, {"Content-Type": "image/png"}),
    "batch": ("/classify_batch", *form(PARTS)),
    "named batch": ("/classify_batch?model=tiny@1", *form(PARTS)),
    "v2": (
        "/v2/models/tiny/infer",
        HEAD + struct.pack("<I", len(RED)) + RED,
        {"Inference-Header-Content-Length": str(len(HEAD))},
    ),
    "v2 with the version": (
        "/v2/models/tiny/versions/1/infer",
        HEAD + struct.pack("<I", len(RED)) + RED,
        {"Inference-Header-Content-Length": str(len(HEAD))},
    ),
}


def versions(answer: Any) -> set[str]:
    """Every version that an answer names."""
    if "model_version" in answer:
        return {answer["model_version"]}
    named = [answer, *answer.get("results", ())]
    return {one["model"].removeprefix("tiny@") for one in named}


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    return tiny_package(tmp_path / "tiny", int8=False)


@pytest.fixture(name="no_collection")
def _no_collection() -> Iterator[None]:
    """Only reference counts free objects."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("kind", REQUESTS)
async def test_a_request_whose_body_is_on_its_way_keeps_its_model(folder: Path, kind: str) -> None:
    path, body, headers = REQUESTS[kind]
    async with in_process(folder) as running:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield body[:100]
            begun.set()
            await go_on.wait()
            yield body[100:]

        task = asyncio.create_task(running.client.post(path, content=slow(), headers=headers))
        await begun.wait()
        tiny_package(folder, int8=False, version="2")
        await running.models.load()
        tiny_package(folder, int8=False, version="3")
        await running.models.load()
        go_on.set()
        answer = await task
        assert answer.status_code == 200, answer.text
        assert versions(answer.json()) == {"1"}
        fresh = await running.client.post("/classify", files={"image": RED})
        assert versions(fresh.json()) == {"3"}


@pytest.mark.parametrize("kind", REQUESTS)
async def test_a_request_that_runs_keeps_its_model(
    folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, body, headers = REQUESTS[kind]
    gate, run = threading.Event(), Session.run

    def held(self: Session, *arguments: Any) -> Any:
        assert gate.wait(LIMIT_S)
        return run(self, *arguments)

    async with in_process(folder) as running:
        monkeypatch.setattr(Session, "run", held)
        old = running.models.get()
        task = asyncio.create_task(running.client.post(path, content=body, headers=headers))
        await until(lambda: old.batcher.admission.views)
        monkeypatch.setattr(Session, "run", run)  # the new models warm up
        tiny_package(folder, int8=False, version="2")
        await running.models.load()
        assert running.models.get().version == "2"
        gate.set()
        answer = await task
        assert answer.status_code == 200, answer.text
        assert versions(answer.json()) == {"1"}


async def test_old_models_are_freed_without_a_garbage_collection(
    folder: Path, no_collection: None
) -> None:
    async with in_process(folder) as running:
        for version in ("2", "3"):
            for path, body, headers in REQUESTS.values():
                await running.client.post(path, content=body, headers=headers)
            await running.client.post("/classify?tta=adaptive", content=b"no image")
            served = running.models.get()
            session = served.predictor.session
            gone = [weakref.ref(one) for one in (served.batcher, session, session._session)]
            del served, session
            tiny_package(folder, int8=False, version=version)
            await running.models.load()
            await until(lambda gone=gone: not any(one() for one in gone))


async def test_models_of_a_reload_that_fails_are_freed_too(
    folder: Path, tmp_path: Path, no_collection: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[weakref.ref[Session]] = []
    init = Session.__init__

    def remembered(session: Session, *arguments: Any, **options: Any) -> None:
        init(session, *arguments, **options)
        opened.append(weakref.ref(session))

    broken = tiny_package(tmp_path / "other", int8=False, name="other")
    async with in_process(folder, packages=(folder, broken)) as running:
        monkeypatch.setattr(Session, "__init__", remembered)
        (broken / "model.onnx").write_bytes(b"altered")
        with pytest.raises(ModelPackageError, match="altered"):
            await running.models.load()
        assert opened
        await until(lambda: not any(session() for session in opened))
        assert [served.name for served in running.models] == ["tiny", "other"]
        assert (await running.client.post("/classify", files={"image": RED})).is_success


async def test_a_reload_follows_a_link_again(tmp_path: Path) -> None:
    for version in ("1", "2"):
        tiny_package(tmp_path / f"v{version}", int8=False, version=version)
    current = tmp_path / "current"
    current.symlink_to("v1")
    async with in_process(current) as running:
        assert running.models.get().version == "1"
        fresh = tmp_path / "fresh"
        fresh.symlink_to("v2")
        fresh.replace(current)
        await running.models.load()
        assert running.models.get().version == "2"


async def test_a_reload_follows_the_links_of_a_kubernetes_volume(tmp_path: Path) -> None:
    """Each file is a link through `..data`, which is switched at once."""
    folder = tmp_path / "mounted"
    for version in ("1", "2"):
        tiny_package(folder / f"..{version}", int8=False, version=version)
    (folder / "..data").symlink_to("..1")
    for name in ("manifest.json", "model.onnx"):
        (folder / name).symlink_to(Path("..data") / name)
    async with in_process(folder) as running:
        assert running.models.get().version == "1"
        (folder / "..tmp").symlink_to("..2")
        (folder / "..tmp").replace(folder / "..data")
        await running.models.load()
        assert running.models.get().version == "2"


async def test_a_package_that_is_replaced_while_it_is_read_is_read_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = Predictor.from_package, 0

    def replaced_meanwhile(path: Path, **options: Any) -> Predictor:
        nonlocal calls
        calls += 1
        if calls == 1:  # the manifest of the old version was read, then the graph of the new one
            tiny_package(folder, int8=False, classes=5, version="2")
            raise ModelPackageError("the graph was altered")
        return original(path, **options)

    monkeypatch.setattr(Predictor, "from_package", replaced_meanwhile)
    async with in_process(folder) as running:
        assert running.models.get().version == "2"
        assert calls == 2
        (folder / "model.onnx").write_bytes(b"altered")  # and nobody touches it again
        with pytest.raises(ModelPackageError, match="altered"):
            await running.models.load()
        assert calls == 3
        assert running.models.get().version == "2"


async def test_a_package_that_changes_at_every_try_is_an_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def replaced_meanwhile(path: Path, **options: Any) -> Predictor:
        nonlocal calls
        calls += 1
        tiny_package(folder, int8=False, version=str(calls))
        raise ModelPackageError("the graph was altered")

    monkeypatch.setattr(Predictor, "from_package", replaced_meanwhile)
    chosen = Settings.model_validate({"packages": (folder,), "provider": "cpu"})
    models = Models(chosen, lambda _: NullObserver())
    with pytest.raises(ModelPackageError, match="altered"):
        await models.load()
    assert calls == TRIES


async def test_a_deleted_package_fails_the_reload_and_serving_goes_on(folder: Path) -> None:
    async with in_process(folder, admin_keys=("secret",)) as running:
        shutil.rmtree(folder)
        refused = await running.client.post("/models/reload", headers={"X-API-Key": "secret"})
        assert refused.status_code == 500
        assert str(folder) in refused.json()["error"]["message"]
        answer = await running.client.post("/classify", files={"image": RED})
        assert versions(answer.json()) == {"1"}


async def test_reloads_that_overlap_all_succeed_and_leave_one_set(folder: Path) -> None:
    async with in_process(folder) as running:
        first = running.models.get()
        loaded = await asyncio.gather(*(running.models.load() for _ in range(4)))
        assert running.models.get() is loaded[-1][0]
        assert len({id(served) for (served,) in [*loaded, (first,)]}) == 5
        await until(lambda: not running.models._retiring)


async def test_a_reload_during_the_shutdown_changes_nothing(folder: Path) -> None:
    async with in_process(folder) as running:
        before = running.models.get()
        reload = asyncio.create_task(running.models.load())
        await asyncio.sleep(0)
        running.models.close()
        with pytest.raises(ShuttingDown):
            await reload
        assert running.models.get() is before


async def test_on_a_gpu_a_reload_waits_for_the_models_of_the_one_before(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the GPU holds two sets, and none is freed while the next one records its graphs."""
    monkeypatch.setattr(module, "_on_gpu", lambda _: True)
    async with in_process(folder) as running:
        models = running.models
        with models.borrow():
            await models.load()  # the first set is still borrowed
            second = asyncio.create_task(models.load())
            await until(lambda: models._reloading.locked())  # pyright: ignore[reportPrivateUsage]
            kept = tuple(models)
            for _ in range(50):
                await asyncio.sleep(0.001)
            assert tuple(models) == kept
            assert not second.done()
        await second
        assert tuple(models) != kept


async def test_on_a_gpu_a_reload_does_not_wait_for_ever(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_on_gpu", lambda _: True)
    async with in_process(folder) as running:
        monkeypatch.setattr(
            running.models,
            "_settings",
            running.models._settings.model_copy(update={"request_timeout_ms": 1}),  # pyright: ignore[reportPrivateUsage]
        )
        with running.models.borrow():
            await running.models.load()
            await running.models.load()
