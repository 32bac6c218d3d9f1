"""What can be seen from outside: metrics and logs."""

import json
import time

import httpx

from service.inference.runtime.cores import usable_cores
from tests.support.images import coloured, encoded
from tests.support.server import Server

PHOTO = encoded(coloured("green"))
PATIENCE_S = 30


def metrics(client: httpx.Client) -> dict[str, float]:
    lines = client.get("/metrics").text.splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def grown(client: httpx.Client, before: dict[str, float], name: str) -> float:
    return metrics(client).get(name, 0) - before.get(name, 0)


def test_an_answer_is_counted_everywhere(client: httpx.Client) -> None:
    before = metrics(client)
    client.post("/classify?tta=five_crop", files={"image": PHOTO}).raise_for_status()
    after = metrics(client)
    for name, by in {
        'quincunx_requests_total{route="/classify",status="200"}': 1,
        'quincunx_request_seconds_count{route="/classify"}': 1,
        "quincunx_decode_seconds_count": 1,
        'quincunx_queue_seconds_count{model="tiny"}': 1,
        'quincunx_batch_views_sum{model="tiny"}': 5,
        'quincunx_image_views_sum{model="tiny"}': 5,
        'quincunx_images_total{model="tiny",tta="five_crop"}': 1,
    }.items():
        assert after.get(name, 0) - before.get(name, 0) == by, name
    # The views of an image that is alone share a batch, or the places for batches, one a core.
    batches = 'quincunx_inference_seconds_count{model="tiny"}'
    assert 1 <= after.get(batches, 0) - before.get(batches, 0) <= min(5, usable_cores())
    assert after['quincunx_waiting_views{model="tiny"}'] == 0


def test_buckets_start_at_half_a_millisecond(client: httpx.Client) -> None:
    client.post("/classify", files={"image": PHOTO}).raise_for_status()
    assert 'quincunx_decode_seconds_bucket{le="0.0005"}' in client.get("/metrics").text


def test_the_gate_is_counted(client: httpx.Client) -> None:
    before = metrics(client)
    client.post("/classify?tta=adaptive", files={"image": PHOTO}).raise_for_status()
    assert grown(client, before, 'quincunx_gate_total{model="tiny",open="false"}') == 1


def test_made_up_paths_make_no_series(client: httpx.Client) -> None:
    client.get("/made-up-by-a-stranger")
    text = client.get("/metrics").text
    assert "made-up" not in text
    assert 'quincunx_requests_total{route="other",status="404"}' in text


def test_every_request_is_logged_as_json_with_its_id(server: Server, client: httpx.Client) -> None:
    headers = {"X-Request-Id": "look-for-me"}
    client.post("/classify?tta=dense", files={"image": PHOTO}, headers=headers)
    client.get("/models")
    deadline = time.monotonic() + PATIENCE_S
    lines: list[str] = []
    while not lines and time.monotonic() < deadline:  # the log is written a little later
        time.sleep(0.05)
        lines = [line for line in server.log.read_text().splitlines() if "look-for-me" in line]
    entry = json.loads(lines[0])
    assert entry["route"] == "/classify"
    assert entry["status"] == 200
    assert entry["tta"] == "dense"
    assert entry["model"] == "tiny@1"
    assert entry["ms"] > 0
