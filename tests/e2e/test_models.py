"""Several models at once, found by name, replaced without a failed request."""

import shutil
import threading
import time
from pathlib import Path

import httpx

from tests.support.images import coloured, encoded
from tests.support.server import serving
from tests.support.tiny import tiny_package

RED = encoded(coloured("red"))


def test_models_are_listed_with_the_default_first(client: httpx.Client) -> None:
    models = client.get("/models").json()["models"]
    assert [(m["model"], m["default"]) for m in models] == [("tiny@1", True), ("other@2.1", False)]
    detail = client.get("/models/other").json()
    assert [label["id"] for label in detail["labels"]][:3] == ["red", "green", "blue"]
    assert client.get("/models/other@2.1").json() == detail
    assert detail["fit"] == models[0]["fit"] == "shorter_side"


def test_every_option_that_a_model_lists_is_answered_and_no_other_is(client: httpx.Client) -> None:
    def status(mode: str, **options: object) -> int:
        params = {"tta": mode, **{name: str(value) for name, value in options.items()}}
        return client.post("/classify", params=params, files={"image": RED}).status_code

    listed = client.get("/models/tiny").json()["mode_options"]
    for one in listed:
        mode = one["mode"]
        if mode == "custom":
            continue
        for how in ("mean", "max", "gmean", "logit_mean", "weighted"):
            expected = 200 if how in one["aggregates"] else 400
            assert status(mode, aggregate=how) == expected, (mode, how)
        assert one["coverages"] == [0.8, 0.9, 0.95, 0.98, 0.99]
        assert status(mode, coverage=one["coverages"][0]) == 200
        assert ("expected_cost" in one) == (mode == "adaptive")


def test_a_request_names_its_model(client: httpx.Client) -> None:
    for name in ("other", "other@2.1"):
        body = client.post("/classify", params={"model": name}, files={"image": RED}).json()
        assert body["model"] == "other@2.1"
        assert len(body["predictions"]) == 5


def test_an_unknown_model_is_a_404_that_lists_the_known(client: httpx.Client) -> None:
    for name in ("nothing", "tiny@7", "../tiny", "..%2Ftiny"):
        response = client.post("/classify", params={"model": name}, files={"image": RED})
        assert response.status_code == 404, name
        assert "tiny@1, other@2.1" in response.json()["error"]["message"]
    assert client.get("/models/..%2F..%2Fetc").status_code == 404


def test_reload_needs_the_admin_key(client: httpx.Client) -> None:
    assert client.post("/models/reload").status_code == 401
    wrong = client.post("/models/reload", headers={"x-api-key": "reload-kez"})
    assert wrong.status_code == 401
    assert wrong.headers["www-authenticate"] == "Bearer"


def test_a_package_is_swapped_without_a_failed_request(tmp_path: Path) -> None:
    folder = tiny_package(tmp_path / "tiny")
    key = {"Authorization": "Bearer secret"}
    with serving([folder], tmp_path, admin_keys="other,secret") as server:
        done = threading.Event()
        answers: list[tuple[int, str]] = []

        def ask() -> None:
            with httpx.Client(base_url=server.url, timeout=30) as client:
                while not done.is_set():
                    response = client.post("/classify?tta=five_crop", files={"image": RED})
                    answers.append((response.status_code, response.json().get("model", "")))

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        shutil.rmtree(folder)
        tiny_package(folder, version="2")
        reloaded = httpx.post(f"{server.url}/models/reload", headers=key, timeout=30)
        asked = len(answers)
        while len(answers) < asked + 6:
            done.wait(0.01)
        done.set()
        for thread in threads:
            thread.join()
        assert reloaded.json() == {"models": ["tiny@2"]}
        assert {status for status, _ in answers} == {200}
        assert answers[0][1] == "tiny@1"
        assert answers[-1][1] == "tiny@2"

        # A package that was altered is not loaded, and what was served goes on.
        (folder / "model.onnx").write_bytes(b"altered")
        refused = httpx.post(f"{server.url}/models/reload", headers=key, timeout=30)
        assert refused.status_code == 500
        assert "was altered" in refused.json()["error"]["message"]  # an administrator asks
        still = httpx.post(f"{server.url}/classify", files={"image": RED}, timeout=30)
        assert still.json()["model"] == "tiny@2"
        assert "was altered" in server.log.read_text()


def test_a_reload_reaches_every_worker(tmp_path: Path) -> None:
    folder = tiny_package(tmp_path / "tiny", int8=False)
    key = {"X-API-Key": "secret"}
    with serving([folder], tmp_path, workers=2, admin_keys="secret", session_threads="1") as server:

        def until_logged(text: str) -> None:
            deadline = time.monotonic() + 60
            while server.log.read_text().count(text) < 2:
                assert time.monotonic() < deadline, server.log.read_text()
                time.sleep(0.05)

        until_logged("serving tiny@1 (")  # not the line of the command itself
        shutil.rmtree(folder)
        tiny_package(folder, int8=False, version="2")
        reloaded = httpx.post(f"{server.url}/models/reload", headers=key, timeout=30)
        assert reloaded.json() == {"models": ["tiny@2"]}
        until_logged("serving tiny@2")
        for _ in range(20):  # each on a connection of its own: whichever worker takes it
            assert httpx.get(f"{server.url}/models").json()["models"][0]["model"] == "tiny@2"
        assert server.log.read_text().count("serving tiny@2") == 2  # nobody loads it twice
