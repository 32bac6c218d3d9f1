"""The Open Inference Protocol, spoken by the real tritonclient."""

import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.support.images import coloured, encoded
from tests.support.server import Server


@pytest.fixture
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    client = triton.InferenceServerClient(server.url.removeprefix("http://"))
    yield client
    client.close()


def raw_input(*colours: str) -> triton.InferInput:
    images = np.stack([coloured(c, 96, 120, seed=i) for i, c in enumerate(colours)])
    tensor = triton.InferInput("images", list(images.shape), "UINT8")
    tensor.set_data_from_numpy(images)
    return tensor


def encoded_input(*colours: str) -> triton.InferInput:
    files = [encoded(coloured(c, 96, 120, seed=i)) for i, c in enumerate(colours)]
    tensor = triton.InferInput("encoded", [len(files)], "BYTES")
    tensor.set_data_from_numpy(np.array(files, np.object_))
    return tensor


def test_health_and_metadata(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("tiny")
    assert client.is_model_ready("other", "2.1")
    assert not client.is_model_ready("none")
    assert not client.is_model_ready("tiny", "9")
    assert "classification" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata("tiny")
    assert {"name": "prediction_set", "datatype": "BOOL", "shape": [-1, 3]} in metadata["outputs"]
    assert metadata["versions"] == ["1"]
    assert [i["name"] for i in metadata["inputs"]] == ["images", "encoded"]
    assert metadata["outputs"][0]["shape"] == [-1, 3]


@pytest.mark.parametrize("make", [raw_input, encoded_input], ids=["pixels", "files"])
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_images_go_in_and_probabilities_come_out(
    client: triton.InferenceServerClient, make: object, binary: bool
) -> None:
    assert callable(make)
    outputs = [triton.InferRequestedOutput("probabilities", binary_data=binary)]
    result = client.infer("tiny", [make("red", "blue", "green")], outputs=outputs)
    probabilities = result.as_numpy("probabilities")
    assert probabilities is not None
    assert probabilities.shape == (3, 3)
    assert probabilities.argmax(1).tolist() == [0, 2, 1]
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)


def test_pixels_may_come_as_json(server: Server) -> None:
    pixels = coloured("green", 64, 64)
    body = {
        "inputs": [
            {
                "name": "images",
                "shape": [1, 64, 64, 3],
                "datatype": "UINT8",
                "data": pixels.ravel().tolist(),
            }
        ]
    }
    answer = httpx.post(f"{server.url}/v2/models/tiny/infer", json=body).json()
    assert np.argmax(answer["outputs"][0]["data"]) == 1


def test_the_classification_extension(client: triton.InferenceServerClient) -> None:
    outputs = [triton.InferRequestedOutput("probabilities", class_count=2)]
    result = client.infer("other", [encoded_input("blue")], model_version="2.1", outputs=outputs)
    classes = result.as_numpy("probabilities")
    assert classes is not None
    assert classes.shape == (1, 2)
    probability, index, label = classes[0, 0].decode().split(":")
    assert float(probability) > 0.5
    assert (index, label) == ("2", "Blue")


def test_options_are_parameters_and_the_mode_is_said(client: triton.InferenceServerClient) -> None:
    result = client.infer("tiny", [raw_input("red")], request_id="7", parameters={"tta": "dense"})
    response = result.get_response()
    assert response["id"] == "7"
    assert response["parameters"]["tta_applied"] == "dense"


def test_errors_are_the_protocol_s(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="no model 'none'"):
        client.infer("none", [raw_input("red")])
    with pytest.raises(InferenceServerException, match="tta must be one of"):
        client.infer("tiny", [raw_input("red")], parameters={"tta": "all"})
    wrong = triton.InferInput("images", [1, 4], "UINT8")
    wrong.set_data_from_numpy(np.zeros((1, 4), np.uint8))
    with pytest.raises(InferenceServerException, match=r"shape \[N, H, W, 3\]"):
        client.infer("tiny", [wrong])
    broken = triton.InferInput("encoded", [1], "BYTES")
    broken.set_data_from_numpy(np.array([b"no image"], np.object_))
    with pytest.raises(
        InferenceServerException, match=r"\] the bytes are no image|^the bytes are no image"
    ):
        client.infer("tiny", [broken])
    broken = triton.InferInput("encoded", [2], "BYTES")
    broken.set_data_from_numpy(np.array([encoded(coloured("red")), b"no image"], np.object_))
    with pytest.raises(InferenceServerException, match="image 1 of 2: the bytes are no image"):
        client.infer("tiny", [broken])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"inputs": 1}',
        b'{"inputs": [1]}',
        b'{"inputs": [{"name": "images", "datatype": "UINT8", "shape": [1, -2, 3, 3]}]}',
        b'{"inputs": [{"name": "images", "datatype": "UINT8", "shape": [1,9,9,3], "data": "x"}]}',
        b'{"inputs": [{"name": "images", "datatype": "UINT8", "shape": [1,1,1,3], "data": [999]}]}',
        b'{"inputs": [{"name": "encoded", "datatype": "BYTES", "shape": [1], "data": ["a"]}]}',
        b"[" * 100_000,
    ],
)
def test_malformed_requests_are_the_sender_s_fault(server: Server, body: bytes) -> None:
    response = httpx.post(f"{server.url}/v2/models/tiny/infer", content=body)
    assert response.status_code == 400
    assert isinstance(response.json()["error"], str)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_requests_and_answers_may_be_compressed(
    client: triton.InferenceServerClient, coding: str, binary: bool
) -> None:
    colours = ["red", "blue", "green"] * 20  # an answer that is worth compressing
    plain = client.infer("tiny", [raw_input(*colours)]).as_numpy("probabilities")
    result = client.infer(
        "tiny",
        [raw_input(*colours)],
        outputs=[triton.InferRequestedOutput("probabilities", binary_data=binary)],
        request_compression_algorithm=coding,
        response_compression_algorithm=coding,
    )
    packed = result.as_numpy("probabilities")
    assert plain is not None
    assert packed is not None
    np.testing.assert_allclose(packed, plain, atol=1e-6)


def test_an_answer_says_how_it_is_compressed_and_a_short_one_is_not(server: Server) -> None:
    def answer(images: int, accept: str) -> httpx.Response:
        data = [0] * images * 64 * 64 * 3
        tensor = {"name": "images", "shape": [images, 64, 64, 3], "datatype": "UINT8", "data": data}
        headers = {"accept-encoding": accept}
        url = f"{server.url}/v2/models/tiny/infer"
        return httpx.post(url, json={"inputs": [tensor]}, headers=headers)

    long = answer(16, "br;q=1, gzip;q=0.5")
    assert long.headers["content-encoding"] == "gzip"
    assert long.headers["vary"] == "Accept-Encoding"
    assert len(long.json()["outputs"][0]["data"]) == 48
    assert answer(16, "gzip;q=0, deflate").headers["content-encoding"] == "deflate"
    for plain in (answer(1, "gzip"), answer(16, "identity"), answer(16, "gzip;q=0.0")):
        assert "content-encoding" not in plain.headers
        assert plain.status_code == 200


@pytest.mark.parametrize("path", ["/v2/models/tiny/infer", "/classify"])
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_compressed_bomb_is_refused(server: Server, path: str, coding: str) -> None:
    pack = gzip.compress if coding == "gzip" else zlib.compress
    bomb = pack(bytes(100_000_000))
    assert len(bomb) < 200_000
    headers = {"content-encoding": coding, "content-type": "image/png"}
    response = httpx.post(server.url + path, content=bomb, headers=headers)
    assert response.status_code == 413
    assert "QUINCUNX_MAX_REQUEST_BYTES" in response.text


def test_a_broken_coding_and_a_false_length_are_refused(server: Server) -> None:
    url = f"{server.url}/v2/models/tiny/infer"
    packed = gzip.compress(b"{}")
    for body, headers in (
        (b"{}", {"content-encoding": "gzip"}),
        (packed[:-1], {"content-encoding": "gzip"}),
        (packed + b"more", {"content-encoding": "gzip"}),
        (b"{}", {"content-encoding": "br"}),
        (packed, {"content-encoding": "gzip, gzip"}),
        (b"{}", {"inference-header-content-length": "9999"}),
    ):
        assert httpx.post(url, content=body, headers=headers).status_code == 400


def test_the_example_of_the_docs_runs(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    page = (Path(__file__).parents[2] / "docs/inference-protocol.md").read_text()
    block = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert block
    host = server.url.removeprefix("http://")
    code = block[1].replace("127.0.0.1:3000", host).replace("imagenette-xresnet18", "tiny")
    (tmp_path / "photo.jpg").write_bytes(encoded(coloured("red"), "JPEG"))
    monkeypatch.chdir(tmp_path)
    exec(code, {})  # noqa: S102
    shown = [float(number) for number in capsys.readouterr().out.strip("[]\n").split()]
    assert len(shown) == 3
    assert np.argmax(shown) == 0  # red
    assert sum(shown) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_a_coverage_gives_the_prediction_sets(
    server: Server, client: triton.InferenceServerClient, binary: bool
) -> None:
    options = {"tta": "none", "coverage": "0.95"}
    default = client.infer("tiny", [encoded_input("red")], parameters=options).get_response()
    assert "prediction_set" in [one["name"] for one in default["outputs"]]
    outputs = [triton.InferRequestedOutput("prediction_set", binary_data=binary)]
    images = [encoded_input("red", "green")]
    result = client.infer("tiny", images, outputs=outputs, parameters=options)
    sets = result.as_numpy("prediction_set")
    assert sets is not None
    assert (sets.dtype, sets.shape) == (np.bool_, (2, 3))
    for row, (seed, colour) in zip(sets, enumerate(("red", "green")), strict=True):
        files = {"image": encoded(coloured(colour, 96, 120, seed=seed))}
        answer = httpx.post(f"{server.url}/classify", params=options, files=files).json()
        expected = {one["index"] for one in answer["prediction_set_classes"]}
        assert set(np.flatnonzero(row).tolist()) == expected


def test_a_prediction_set_needs_a_coverage(client: triton.InferenceServerClient) -> None:
    plain = client.infer("tiny", [raw_input("red")]).get_response()
    assert "prediction_set" not in [one["name"] for one in plain["outputs"]]
    outputs = [triton.InferRequestedOutput("prediction_set")]
    with pytest.raises(InferenceServerException, match="prediction_set needs the parameter cov"):
        client.infer("tiny", [raw_input("red")], outputs=outputs)
