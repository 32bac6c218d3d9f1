"""SIGTERM: ready no more, then gone, with what was admitted answered."""

import signal
import time
from pathlib import Path

import httpx
import psutil

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
