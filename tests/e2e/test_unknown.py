"""Unknown images and embeddings: over HTTP, with both clients, and over the Inference Protocol."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tritonclient import http as triton
from tritonclient.utils import InferenceServerException

import quincunx
from service.api.documentation import schemas
from tests.support.embedded import FOREIGN, KNOWN, opened, unknown_package
from tests.support.images import encoded
from tests.support.kinds import kind_package
from tests.support.server import Server, serving

JPEG = {"Content-Type": "image/png"}
FILES = {"known": encoded(KNOWN), "foreign": encoded(FOREIGN)}


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unknown_package(tmp_path_factory.mktemp("models") / "knows", name="knows")


@pytest.fixture(scope="module", name="served")
def _served(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    plain = kind_package(tmp_path_factory.mktemp("models") / "plain", name="plain")
    with serving([folder, plain], tmp_path_factory.mktemp("served")) as running:
        yield running


@pytest.fixture(name="http")
def _http(served: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=60) as client:
        yield client


def asked(http: httpx.Client, image: str, path: str = "/classify", **query: str) -> dict[str, Any]:
    answer = http.post(path, params=query, content=FILES[image], headers=JPEG)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("mode", ["none", "five_crop", "dense", "centre_dense"])
def test_an_answer_says_whether_its_classes_fit(http: httpx.Client, mode: str) -> None:
    known, foreign = (asked(http, image, tta=mode) for image in ("known", "foreign"))
    assert (known["unknown"]["is_unknown"], foreign["unknown"]["is_unknown"]) == (False, True)
    assert foreign["label"] in ("red", "green", "blue")
    assert known["unknown"]["known_rate"] == 0.95
    schemas.ClassifyAnswer.model_validate(foreign)
    moved = asked(http, "known", tta=mode, known_rate="0.5")["unknown"]
    assert moved["score"] == known["unknown"]["score"]
    assert moved["threshold"] < known["unknown"]["threshold"]
    assert asked(http, "foreign", tta=mode, known_rate="off")["unknown"] is None
    assert asked(http, "known", model="plain")["unknown"] is None


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"known_rate": "0.999"}, "from 0.5 to 0.99"),
        ({"known_rate": "2"}, "a number from 0 to 1, or off"),
        ({"known_rate": "on"}, "a number from 0 to 1, or off"),
        ({"known_rate": "0.9", "model": "plain"}, "plain has no unknown score"),
        ({"include": "embedding", "model": "plain"}, "plain has no embeddings"),
    ],
)
def test_what_a_model_cannot_say_is_refused(
    http: httpx.Client, query: dict[str, str], message: str
) -> None:
    answer = http.post("/classify", params=query, content=FILES["known"], headers=JPEG)
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]


def test_embeddings_come_beside_an_answer_or_alone(http: httpx.Client, folder: Path) -> None:
    for mode in ("none", "five_crop", "dense"):
        expected = opened(folder).embed([KNOWN], mode)[0]
        beside = asked(http, "known", tta=mode, include="embedding")["embedding"]
        alone = asked(http, "known", "/embed", tta=mode)
        np.testing.assert_allclose(beside, expected, atol=1e-5)
        assert alone["embedding"] == beside
        schemas.EmbedAnswer.model_validate(alone)
    assert "embedding" not in asked(http, "known")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"model": "plain"}, "plain has no embeddings"),
        ({"top_k": "3"}, "top_k is not an option of /embed"),
        ({"known_rate": "0.9"}, "known_rate is not an option of /embed"),
        ({"tta": "x"}, "tta must be one of"),
    ],
)
def test_embed_refuses_what_it_cannot_do(
    http: httpx.Client, query: dict[str, str], message: str
) -> None:
    answer = http.post("/embed", params=query, content=FILES["known"], headers=JPEG)
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]
    assert http.post("/embed", content=b"no image", headers=JPEG).status_code == 422


def test_the_models_say_what_they_have(http: httpx.Client) -> None:
    knows, plain = http.get("/models").json()["models"]
    assert (knows["embedding"], knows["known_rate"]) == (3, 0.95)
    assert (plain["embedding"], plain["known_rate"]) == (None, None)
    options = {one["mode"]: one for one in http.get("/models/knows").json()["mode_options"]}
    assert options["none"]["known_rates"] == [0.5, 0.99]
    assert "known_rates" not in options["custom"]


async def test_both_clients_have_typed_results(served: Server) -> None:
    with quincunx.Client(served.url) as client:
        answer = client.classify(FILES["foreign"], known_rate=0.9, include=["embedding"])
        assert answer.unknown is not None
        assert answer.unknown.is_unknown
        assert answer.unknown.known_rate == 0.9
        assert client.embed(FILES["foreign"]).embedding == answer.embedding
        with pytest.raises(quincunx.errors.UsageError, match="no option 'top_k'"):
            client.embed(FILES["foreign"], top_k=3)
    async with quincunx.AsyncClient(served.url) as client:
        found = await client.embed(FILES["foreign"], tta="none")
        assert found.tta_applied == "none"
        assert len(found.embedding) == 3


@pytest.fixture(name="oip")
def _oip(served: Server) -> Iterator[triton.InferenceServerClient]:
    client = triton.InferenceServerClient(served.url.removeprefix("http://"))
    yield client
    client.close()


def both_images() -> triton.InferInput:
    wanted = triton.InferInput("encoded", [2], "BYTES")
    wanted.set_data_from_numpy(np.array([FILES["known"], FILES["foreign"]], np.object_))
    return wanted


@pytest.mark.parametrize("binary", [True, False])
def test_the_protocol_has_outputs_for_both(oip: triton.InferenceServerClient, binary: bool) -> None:
    names = ("is_unknown", "embedding", "unknown_score", "probabilities")
    outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in names]
    result = oip.infer("knows", [both_images()], outputs=outputs, parameters={"known_rate": "0.9"})
    assert [one["name"] for one in result.get_response()["outputs"]] == [*names]
    flags, rows = result.as_numpy("is_unknown"), result.as_numpy("embedding")
    scores, probabilities = result.as_numpy("unknown_score"), result.as_numpy("probabilities")
    assert flags is not None
    assert rows is not None
    assert scores is not None
    assert probabilities is not None
    assert flags.tolist() == [False, True]
    assert rows.shape == (2, 3)
    assert probabilities.shape == (2, 3)
    threshold = result.get_response()["parameters"]["unknown_threshold"]
    assert scores[0] <= threshold < scores[1]
    assert result.get_response()["parameters"]["known_rate"] == 0.9


def test_without_names_the_protocol_gives_what_the_model_has(
    oip: triton.InferenceServerClient,
) -> None:
    def names(model: str, **parameters: str) -> list[str]:
        response = oip.infer(model, [both_images()], parameters=parameters).get_response()
        return [one["name"] for one in response["outputs"]]

    assert names("knows") == ["probabilities", "unknown_score", "is_unknown"]
    assert names("knows", known_rate="off") == ["probabilities"]
    assert names("plain") == ["probabilities"]
    listed = [one["name"] for one in oip.get_model_metadata("knows")["outputs"]]
    assert listed == ["probabilities", "unknown_score", "is_unknown", "embedding"]
    assert [one["name"] for one in oip.get_model_metadata("plain")["outputs"]] == ["probabilities"]


@pytest.mark.parametrize(
    ("model", "output", "message"),
    [
        ("plain", "embedding", "plain has no embeddings"),
        ("plain", "is_unknown", "no output is_unknown"),
        ("knows", "logits", "there are: probabilities, unknown_score, is_unknown, pred"),
    ],
)
def test_the_protocol_refuses_outputs_that_are_not_there(
    oip: triton.InferenceServerClient, model: str, output: str, message: str
) -> None:
    with pytest.raises(InferenceServerException, match=message):
        oip.infer(model, [both_images()], outputs=[triton.InferRequestedOutput(output)])
