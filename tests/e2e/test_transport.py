"""The real server speaks HTTP as `tests/unit/test_transport.py` has it."""

import json
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from tests.support.images import coloured, encoded
from tests.support.server import Server

PHOTO = encoded(coloured("red"))


def say(server: Server, data: bytes) -> tuple[int, str, bytes]:
    """Send bytes; the status, the head and the body of what comes until the server closes."""
    url = httpx.URL(server.url)
    with socket.create_connection((url.host, url.port), timeout=60) as connection:
        connection.sendall(data)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode(), body


def until_logged(server: Server, text: str) -> None:
    limit = time.monotonic() + 60
    while text not in server.log.read_text():
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_a_request_that_offers_http_2_is_answered(server: Server) -> None:
    offer = b"Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"
    head = b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n" + offer
    status, _, body = say(server, head + b"Content-Length: %d\r\n\r\n" % len(PHOTO) + PHOTO)
    assert status == 200
    assert json.loads(body)["label"] == "red"


def test_curl_offers_http_2(server: Server, red: Path) -> None:
    command = ["curl", "-sS", "--http2", "-F", f"image=@{red}", f"{server.url}/classify"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert '"label":"red"' in done.stdout


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (b"GET /models HTTP/1.1\r\nX: " + b"a" * 200_000 + b"\r\n\r\n", 431, "headers_too_large"),
        (b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n", 414, "target_too_long"),
        (b"GET /models HTTP/1.1\r\nHost x\r\n\r\n", 400, "usage_error"),
    ],
)
def test_what_no_handler_sees_is_a_problem_like_any_other(
    server: Server, client: httpx.Client, request_: bytes, status: int, code: str
) -> None:
    got, head, body = say(server, request_)
    assert got == status
    error = json.loads(body)["error"]
    assert error["code"] == code
    assert f"x-request-id: {error['request_id']}" in head
    assert "x-content-type-options: nosniff" in head
    until_logged(server, error["request_id"])
    metrics = client.get("/metrics").text
    assert f'quincunx_requests_total{{route="other",status="{status}"}}' in metrics


def test_under_v2_it_has_the_shape_of_the_protocol(server: Server) -> None:
    for path in (b"/v2/models/tiny", b"/v2", b"/v2/health/live?x=1"):
        head = b"GET " + path + b" HTTP/1.1\r\nX: " + b"a" * 200_000 + b"\r\n\r\n"
        status, _, body = say(server, head)
        assert status == 431
        assert "QUINCUNX_MAX_HEADER_BYTES" in json.loads(body)["error"]
