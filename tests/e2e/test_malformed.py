"""Hundreds of malformed requests against a real server; `benchmarks.service` sends thousands."""

import httpx

from benchmarks.service.malformed import send_all
from tests.support.images import coloured, encoded
from tests.support.server import Server

PHOTO = {"image": encoded(coloured("red"))}


def test_no_request_makes_the_server_fail(server: Server) -> None:
    outcome = send_all(server.url, "tiny", 300)
    assert not outcome.failures
    assert len({kind for kind, _ in outcome.statuses}) == 9
    answer = httpx.post(f"{server.url}/classify", files=PHOTO).json()
    assert answer["label"] == "red"
    assert "Traceback" not in server.log.read_text()
