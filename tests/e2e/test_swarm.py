"""500 requests at once, over both protocols and every encoding: each gets its own answer."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio

from tests.support.images import coloured, encoded
from tests.support.server import Server, serving
from tests.support.tiny import tiny_package

EACH = 125
COLOURS = ("red", "green", "blue")
PIXELS = [coloured(COLOURS[i % 3], 64 + i, 90, seed=i) for i in range(EACH)]
FILES = [encoded(image) for image in PIXELS]
EXPECTED = [i % 3 for i in range(EACH)]
LIMIT_S = 300


@pytest.fixture(scope="module")
def roomy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that may let everybody in and has the time to answer, however busy the machine."""
    folder = tmp_path_factory.mktemp("roomy")
    settings: dict[str, Any] = {
        "max_queue_views": "100000",
        "request_timeout_ms": "3600000",
    }
    with serving([tiny_package(folder / "tiny")], folder, **settings) as server:
        yield server


def tensor(kind: Any, index: int, binary: bool) -> Any:
    """Pixels as JSON, files as bytes."""
    if binary:
        made = kind("encoded", [1], "BYTES")
        made.set_data_from_numpy(np.array([FILES[index]], np.object_))
    else:
        made = kind("images", [1, *PIXELS[index].shape], "UINT8")
        made.set_data_from_numpy(PIXELS[index][None], binary_data=False)
    return made


def outputs(kind: Any, binary: bool) -> list[Any]:
    return [kind("probabilities", binary_data=binary)]


def winner(result: Any) -> int:
    return int(np.argmax(result.as_numpy("probabilities")))


def over_threads(host: str, found: dict[str, list[int]]) -> None:
    """tritonclient's own pool of connections, on gevent, in a thread of its own."""
    client = triton.InferenceServerClient(
        host, concurrency=EACH, network_timeout=LIMIT_S, connection_timeout=LIMIT_S
    )
    for binary in (True, False):
        pending = [
            client.async_infer(
                "tiny",
                [tensor(triton.InferInput, i, binary)],
                outputs=outputs(triton.InferRequestedOutput, binary),
            )
            for i in range(EACH)
        ]
        found[f"http, binary {binary}"] = [winner(one.get_result()) for one in pending]
    client.close()


async def over_aio(server: Server, found: dict[str, list[int]]) -> None:
    host = server.url.removeprefix("http://")
    client = triton_aio.InferenceServerClient(host, conn_limit=2 * EACH, conn_timeout=LIMIT_S)
    limits = httpx.Limits(max_connections=EACH)
    async with client, httpx.AsyncClient(timeout=LIMIT_S, limits=limits) as rest:

        async def infer(index: int, binary: bool) -> int:
            result = await client.infer(
                "tiny",
                [tensor(triton_aio.InferInput, index, binary)],
                outputs=outputs(triton_aio.InferRequestedOutput, binary),
            )
            return winner(result)

        async def classify(index: int) -> int:
            files = {"image": FILES[index]}
            response = await rest.post(f"{server.url}/classify", files=files)
            assert response.status_code == 200, response.text
            return int(response.json()["predictions"][0]["index"])

        clients = {
            "aio, binary": [infer(i, True) for i in range(EACH)],
            "aio, json": [infer(i, False) for i in range(EACH)],
            "classify": [classify(i) for i in range(EACH)],
        }
        answers = await asyncio.gather(*(asyncio.gather(*asks) for asks in clients.values()))
        found.update(zip(clients, answers, strict=True))


async def test_everybody_gets_the_answer_to_the_own_image(roomy: Server) -> None:
    found: dict[str, list[int]] = {}
    host = roomy.url.removeprefix("http://")
    thread = threading.Thread(target=over_threads, args=(host, found))
    thread.start()
    await over_aio(roomy, found)
    thread.join()
    assert len(found) == 5
    for client, answers in found.items():
        assert answers == EXPECTED, client
    metrics = httpx.get(f"{roomy.url}/metrics").text
    counted = {line for line in metrics.splitlines() if line.startswith("quincunx_requests_total{")}
    assert f'quincunx_requests_total{{route="/classify",status="200"}} {EACH}.0' in counted
    infer = 'quincunx_requests_total{route="/v2/models/{model}/infer",status="200"}'
    assert f"{infer} {4 * EACH}.0" in counted
    assert not [line for line in counted if 'status="5' in line or 'status="4' in line]
    assert "Traceback" not in Path(roomy.log).read_text()
