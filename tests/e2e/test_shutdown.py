"""SIGTERM: ready no more, then gone, with what was admitted answered."""

import signal
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from tests.support.images import coloured, encoded
from tests.support.server import serving, stop
from tests.support.tiny import tiny_package

PHOTO = {"image": encoded(coloured("red"))}


def test_a_server_says_that_it_goes_before_it_goes(tmp_path: Path) -> None:
    with serving([tiny_package(tmp_path / "tiny")], tmp_path, drain_ms="3000") as server:
        children = psutil.Process(server.process.pid).children()
        with httpx.Client(base_url=server.url, timeout=30) as client:
            assert client.post("/classify", files=PHOTO).status_code == 200
            server.process.send_signal(signal.SIGTERM)
            limit = time.monotonic() + 30
            while client.get("/readyz").status_code == 200:
                assert time.monotonic() < limit
            refused = client.post("/classify", files=PHOTO)
            assert refused.status_code == 503
            assert refused.json()["error"]["code"] == "shutting_down"
            assert client.get("/livez").status_code == 200
        assert stop(server) == 0
        psutil.wait_procs(children, timeout=30)
        assert not any(child.is_running() for child in children)
        assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("workers", [1, 2])
def test_the_port_closes_before_the_last_request_is_answered(tmp_path: Path, workers: int) -> None:
    """A client that connects now must not wait for a server that will never answer it."""
    image = encoded(coloured("red"))
    head = (
        "POST /classify HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
        f"Content-Length: {len(image)}\r\nExpect: 100-continue\r\n\r\n"
    )
    package = tiny_package(tmp_path / "tiny")
    with serving([package], tmp_path, workers, request_timeout_ms="60000") as server:
        url = urlsplit(server.url)
        address = (url.hostname or "", url.port or 0)
        with socket.create_connection(address, timeout=30) as admitted:
            admitted.sendall(head.encode())
            assert admitted.recv(4096).startswith(b"HTTP/1.1 100")  # it reads the body
            server.process.send_signal(signal.SIGTERM)
            limit = time.monotonic() + 30
            while _takes_connections(address):
                assert time.monotonic() < limit
            admitted.sendall(image)
            assert admitted.recv(4096).startswith(b"HTTP/1.1 200")
        assert stop(server) == 0


def _takes_connections(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=30).close()
    except ConnectionRefusedError:
        return False
    except ConnectionResetError:  # the port was closed at this moment
        return True
    return True
