"""Every error under /v2 has the protocol's shape, and is logged and counted as any request."""

import http.client
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.support.images import coloured
from tests.support.server import Server

INFER = "/v2/models/tiny/infer"


@pytest.fixture
def triton_client(server: Server) -> Iterator[triton.InferenceServerClient]:
    client = triton.InferenceServerClient(server.url.removeprefix("http://"))
    yield client
    client.close()


CALLS: dict[str, Callable[[triton.InferenceServerClient], Any]] = {
    "config": lambda c: c.get_model_config("tiny"),
    "config of a version": lambda c: c.get_model_config("tiny", "1"),
    "statistics": lambda c: c.get_inference_statistics("tiny"),
    "all statistics": lambda c: c.get_inference_statistics(),
    "index": lambda c: c.get_model_repository_index(),
    "load": lambda c: c.load_model("tiny"),
    "unload": lambda c: c.unload_model("tiny"),
    "trace": lambda c: c.get_trace_settings(),
    "trace of a model": lambda c: c.update_trace_settings("tiny", {"trace_level": "OFF"}),
    "log": lambda c: c.get_log_settings(),
    "change the log": lambda c: c.update_log_settings({"log_info": False}),
    "shared memory": lambda c: c.get_system_shared_memory_status(),
    "register": lambda c: c.register_system_shared_memory("a", "/a", 8),
    "unregister": lambda c: c.unregister_system_shared_memory(),
    "shared memory of a GPU": lambda c: c.get_cuda_shared_memory_status(),
    "register it": lambda c: c.register_cuda_shared_memory("a", b"x", 0, 8),
    "unregister it": lambda c: c.unregister_cuda_shared_memory("a"),
    "metadata of no model": lambda c: c.get_model_metadata("none"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_what_is_not_served_is_an_error_that_the_client_can_show(
    triton_client: triton.InferenceServerClient, call: Callable[[Any], Any]
) -> None:
    with pytest.raises(InferenceServerException, match=r"^\[40[45]\] (Not Found|no model|Method)"):
        call(triton_client)


PATHS = (
    *("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/tiny", "/v2/models/tiny/ready"),
    *(INFER, "/v2/models/tiny/versions/1/infer", "/v2/models/tiny/config", "/v2/none"),
    *("/v2/models", "/v2/models//infer", "/v2/models/none/infer", "/v2/models/tiny/generate"),
    *("/v2/models/%ED%A0%80", "/v2/models/a%0D%0Ab", "/v2/repository/index", "/v2//", "/v2/%2e"),
)


@pytest.mark.parametrize("path", PATHS)
def test_every_method_of_every_path_answers_as_the_protocol(
    client: httpx.Client, path: str
) -> None:
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"):
        response = client.request(method, path)
        if response.status_code in (200, 307):
            continue
        assert 400 <= response.status_code < 500, method
        assert response.headers["content-type"] == "application/json"
        assert re.fullmatch(r"[0-9a-f]{32}", response.headers["x-request-id"])
        assert set(response.json()) == {"error"}
        assert isinstance(response.json()["error"], str)
    head, get = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (get.status_code, b"")


def test_what_is_refused_before_a_route_has_the_shape_of_its_path(client: httpx.Client) -> None:
    many = {f"x-{i}": "y" for i in range(200)}
    for refused in (
        client.get("/v2/models/tiny", headers=many),
        client.get("/v2/models/tiny", headers={"x": "y" * 70_000}),
        client.get("/v2/models/tiny", headers={"host": "evil.example.com"}),
        client.post(INFER, headers={"origin": "https://evil.example.com"}),
    ):
        assert 400 <= refused.status_code < 500
        assert isinstance(refused.json()["error"], str), refused.text
    connection = http.client.HTTPConnection(client.base_url.host, client.base_url.port)
    connection.request("GET", "/v2/models/" + "a" * 70_000)  # httpx sends no such path
    long = connection.getresponse()
    assert long.status == 414
    assert isinstance(json.loads(long.read())["error"], str)
    connection.close()


def test_paths_beside_v2_keep_their_own_shape(client: httpx.Client) -> None:
    for path in ("/v2x", "/v1/v2/models", "/none"):
        assert client.get(path).json()["error"]["code"] == "not_found"


def pixels(data: Any, **parameters: Any) -> dict[str, Any]:
    tensor = {"name": "images", "shape": [1, 2, 2, 3], "datatype": "UINT8", "data": data}
    return {"inputs": [tensor], "parameters": {"tta": "none", **parameters}}


@pytest.mark.parametrize(
    "wrong",
    [0.5, True, False, -1, 256, 1e300, 2**64, None, "7", {}, "NaN", "Infinity", "-Infinity"],
)
@pytest.mark.parametrize("nested", [True, False])
def test_no_value_is_bent_to_fit(client: httpx.Client, wrong: Any, nested: bool) -> None:
    values = np.zeros((1, 2, 2, 3), object)
    values[0, 1, 0, 1] = wrong
    text = json.dumps(pixels(values.tolist() if nested else values.ravel().tolist()))
    if isinstance(wrong, str) and wrong != "7":
        text = text.replace(f'"{wrong}"', wrong)
    response = client.post(INFER, content=text)
    assert response.status_code == 400
    assert "element 7 is" in response.json()["error"]
    assert "0 to 255" in response.json()["error"]


def test_one_number_in_any_notation_is_one_answer(client: httpx.Client) -> None:
    template = json.dumps(pixels(["@"] * 12))
    answers = {
        client.post(INFER, content=template.replace('"@"', number)).text
        for number in ("100", "100.0", "1e2", "1.0E+2", "1000e-1")
    }
    assert len(answers) == 1
    assert '"data"' in answers.pop()


def test_nested_pixels_answer_as_flat_and_as_binary_ones(client: httpx.Client) -> None:
    image = coloured("green", 64, 80)[None]
    tensor = {"name": "images", "shape": list(image.shape), "datatype": "UINT8"}
    head = {"inputs": [{**tensor, "parameters": {"binary_data_size": image.size}}]}
    text = json.dumps(head).encode()
    length = {"inference-header-content-length": str(len(text))}
    answers = [
        client.post(INFER, content=text + image.tobytes(), headers=length),
        client.post(INFER, json={"inputs": [{**tensor, "data": image.tolist()}]}),
        client.post(INFER, json={"inputs": [{**tensor, "data": image.ravel().tolist()}]}),
    ]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert len({answer.text for answer in answers}) == 1
    channels_first = image.transpose(0, 3, 1, 2).tolist()
    wrong = client.post(INFER, json={"inputs": [{**tensor, "data": channels_first}]})
    assert wrong.status_code == 400
    assert "nested, but not as its shape" in wrong.json()["error"]


def count(client: httpx.Client, status: int) -> float:
    wanted = f'quincunx_requests_total{{route="/v2/models/{{model}}/infer",status="{status}"}} '
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.removeprefix(wanted)) for line in lines if line.startswith(wanted))


@pytest.mark.parametrize(
    "body",
    [
        b'{"id": "\\ud800"}',
        b'{"inputs": [{"name": "images", "datatype": "\\ud800", "shape": []}]}',
        b'{"inputs": [{"name": "\\udfff"}]}',
        b"\xff\xfe{\x00}\x00",
        b'{"inputs": NaN}',
        b'{"id": 1, "id": 2}',
        b"[" * 60_000,
        b'{"id": ' + b"9" * 10_000 + b"}",
    ],
)
def test_odd_json_is_refused_logged_and_counted(
    server: Server, client: httpx.Client, body: bytes
) -> None:
    before = count(client, 400)
    response = client.post(INFER, content=body)
    assert response.status_code == 400
    assert isinstance(response.json()["error"], str)
    assert count(client, 400) == before + 1
    request_id = response.headers["x-request-id"]
    while request_id not in server.log.read_text():  # a thread of the server writes the line
        assert server.process.poll() is None


def test_an_option_in_the_query_is_not_passed_over(
    triton_client: triton.InferenceServerClient, client: httpx.Client
) -> None:
    image = triton.InferInput("images", [1, 2, 2, 3], "UINT8")
    image.set_data_from_numpy(np.zeros((1, 2, 2, 3), np.uint8))
    with pytest.raises(InferenceServerException, match="tta is in the query; here options are"):
        triton_client.infer("tiny", [image], query_params={"tta": "dense"})
    assert triton_client.infer("tiny", [image], query_params={"trace": "7"}).get_response()


def test_a_timeout_is_a_deadline_and_a_sequence_is_refused(
    triton_client: triton.InferenceServerClient,
) -> None:
    image = triton.InferInput("images", [1, 2, 2, 3], "UINT8")
    image.set_data_from_numpy(np.zeros((1, 2, 2, 3), np.uint8))
    assert triton_client.infer("tiny", [image], timeout=9_000_000).get_response()
    with pytest.raises(InferenceServerException, match=r"^\[504\]"):
        triton_client.infer("tiny", [image], timeout=1)
    with pytest.raises(InferenceServerException, match="may not have 'sequence_id'"):
        triton_client.infer("tiny", [image], sequence_id=7)
    with pytest.raises(InferenceServerException, match="may not have 'priority'"):
        triton_client.infer("tiny", [image], priority=1)
