"""What web pages of other origins can do to a real server on a loopback address."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.images import coloured, encoded
from tests.support.server import Server, serving
from tests.support.tiny import tiny_package

PHOTO = {"image": encoded(coloured("red"))}
APP = "https://app.example.com"
BENTOML = """services:
  http:
    cors: {enabled: true, access_control_allow_origins: ["https://app.example.com"]}
"""


def test_another_name_for_this_machine_is_refused(client: httpx.Client) -> None:
    for path in ("/", "/models", "/schema.json", "/livez", "/v2"):
        assert client.get(path, headers={"Host": "evil.example"}).status_code == 421
        assert client.get(path, headers={"Host": "10.0.0.1:3000"}).status_code == 200


def test_a_form_of_another_site_is_refused(client: httpx.Client) -> None:
    refused = client.post("/classify", files=PHOTO, headers={"Origin": "http://evil.example"})
    assert refused.status_code == 403


def test_the_cors_of_bentoml_s_file_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "bento.yaml"
    file.write_text(BENTOML)
    monkeypatch.setenv("BENTOML_CONFIG", str(file))
    with serving([tiny_package(tmp_path / "tiny")], tmp_path) as server:
        _can_ask(server)


def test_the_cors_of_bentoml_s_file_is_refused_where_it_cannot_be_kept(tmp_path: Path) -> None:
    file = tmp_path / "bento.yaml"
    pattern = "access_control_allow_origin_regex: 'https://.*'"
    file.write_text(f"services:\n  http:\n    cors: {{enabled: true, {pattern}}}\n")
    done = subprocess.run(
        [sys.executable, "-m", "service.cli", "serve", str(tiny_package(tmp_path / "tiny"))],
        env=os.environ | {"BENTOML_CONFIG": str(file)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode != 0
    assert "QUINCUNX_CORS_ORIGINS" in done.stderr


def _can_ask(server: Server) -> None:
    headers = {"Origin": APP, "Access-Control-Request-Method": "POST"}
    asked = httpx.options(f"{server.url}/classify", headers=headers)
    assert asked.status_code == 204
    for path in ("/classify", "/schema.json"):
        method = "POST" if path == "/classify" else "GET"
        files = PHOTO if path == "/classify" else None
        url = server.url + path
        answer = httpx.request(method, url, files=files, headers={"Origin": APP}, timeout=60)
        assert answer.status_code == 200
        assert answer.headers.get_list("access-control-allow-origin") == [APP]
