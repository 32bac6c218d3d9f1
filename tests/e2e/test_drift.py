"""Drift over a real server with two workers: one window, whichever worker answers a scrape."""

import re
from pathlib import Path

import httpx

from tests.support.images import coloured, encoded
from tests.support.references import with_references
from tests.support.server import serving
from tests.support.tiny import tiny_package

PSI = re.compile(r'quincunx_drift_psi\{[^}]*what="class"\} (\S+)')
RED = re.compile(r'quincunx_predicted_class_total\{label="red"[^}]*\} (\S+)')


def test_the_window_is_that_of_all_workers(tmp_path: Path) -> None:
    package = with_references(tiny_package(tmp_path / "tiny"))
    red = encoded(coloured("red"))
    with serving([package], tmp_path, workers=2, drift_window="60") as server:
        for _ in range(6):  # a new connection each, so that both workers answer some
            files = [("images", red)] * 10
            httpx.post(f"{server.url}/classify_batch", files=files, timeout=60).raise_for_status()
        scrapes = [httpx.get(f"{server.url}/metrics", timeout=60).text for _ in range(6)]
    indices = {PSI.findall(text)[0] for text in scrapes}
    assert len(indices) == 1
    assert float(indices.pop()) > 0.25
    assert {RED.findall(text)[0] for text in scrapes} == {"60.0"}
