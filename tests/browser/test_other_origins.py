"""Pages of other origins, in a real browser: refused unless a setting allows them."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, sync_playwright

from tests.browser.conftest import CHROMIUM
from tests.support.images import coloured, encoded
from tests.support.server import Server, serving
from tests.support.tiny import tiny_package

ASK = """async ([url, bytes, mode]) => {
  const body = new FormData();
  body.append("image", new File([new Uint8Array(bytes)], "photo.png", { type: "image/png" }));
  const headers = mode === "cors" ? { Authorization: "Bearer key" } : {};
  try {
    const response = await fetch(url, { method: "POST", mode, body, headers });
    return { status: response.status, id: response.headers.get("x-request-id"),
             answer: response.status ? await response.json() : null };
  } catch (error) { return { failed: error.name }; }
}"""
PHOTO = list(encoded(coloured("red")))


@pytest.fixture(scope="module")
def rebound() -> Iterator[Page]:
    """A page in a browser in which the name evil.example means this machine."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    rules = "--host-resolver-rules=MAP evil.example 127.0.0.1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", rules])
        yield browser.new_page()
        browser.close()


def foreign(page: Page, server: Server) -> str:
    """Open a page of another origin than the server's; its origin."""
    origin = server.url.replace("127.0.0.1", "localhost")
    page.goto(f"{origin}/docs.json")  # it has no policy of its own
    return origin


def refusals(server: Server) -> int:
    text = httpx.get(f"{server.url}/metrics").text
    name = 'quincunx_requests_total{route="other",status="403"} '
    return sum(int(float(line.split()[1])) for line in text.splitlines() if line.startswith(name))


@pytest.mark.parametrize("mode", ["cors", "no-cors"])
def test_a_page_of_another_origin_can_ask_nothing(rebound: Page, server: Server, mode: str) -> None:
    foreign(rebound, server)
    before = refusals(server)
    got = rebound.evaluate(ASK, [f"{server.url}/classify", PHOTO, mode])
    assert got.get("failed") == "TypeError" or got == {"status": 0, "id": None, "answer": None}
    assert refusals(server) == before + 1


def test_a_name_that_was_rebound_shows_nothing(rebound: Page, server: Server) -> None:
    port = httpx.URL(server.url).port
    response = rebound.goto(f"http://evil.example:{port}/models")
    assert response is not None
    assert response.status == 421
    assert "tiny" not in rebound.content()


def test_an_allowed_origin_asks_and_reads_answers_and_errors(
    rebound: Page, server: Server, tmp_path: Path
) -> None:
    origin = foreign(rebound, server)
    with serving(
        [tiny_package(tmp_path / "tiny")], tmp_path, cors_origins=origin, api_keys="key"
    ) as other:
        got = rebound.evaluate(ASK, [f"{other.url}/classify", PHOTO, "cors"])
        assert got["status"] == 200
        assert got["answer"]["label"] == "red"
        assert got["id"] == got["answer"]["request_id"]
        wrong = rebound.evaluate(ASK, [f"{other.url}/classify?tta=x", PHOTO, "cors"])
        assert wrong["status"] == 400
        assert "five_crop" in wrong["answer"]["error"]["message"]
