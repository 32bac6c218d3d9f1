"""`/docs` in a browser: readable, complete, and without anything from elsewhere."""

from html import unescape

import httpx
import pytest
from playwright.sync_api import Page, expect

from service.api.documentation.openapi import openapi
from service.api.options import FIELDS
from tests.support.server import Server

expect.set_options(timeout=60_000)


def test_every_endpoint_option_and_field_stands_on_the_page(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/docs")
    text = page.locator("main").inner_text()
    for path, operations in openapi()["paths"].items():
        for method, operation in operations.items():
            section = page.locator(f"#{operation['operationId']}")
            expect(section.locator("h2")).to_have_text(f"{method.upper()} {path}")
            for status in operation["responses"]:
                assert status in text
    options = page.locator("#classify table").first.locator("td:first-child").all_inner_texts()
    assert set(FIELDS) <= set(options)
    for name, shape in openapi()["components"]["schemas"].items():
        listed = page.locator(f"#shape-{name} td:first-child").all_inner_texts()
        assert listed == list(shape["properties"])


def test_links_lead_to_their_sections_and_the_style_applies(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/docs")
    targets = [link.get_attribute("href") for link in page.locator("main a").all()]
    assert "docs.json" in targets
    for target in set(targets) - {"docs.json"}:
        expect(page.locator(str(target))).to_have_count(1)
    width = page.locator("table").first.evaluate("one => getComputedStyle(one).borderCollapse")
    assert width == "collapse"  # the policy allows the style sheet


@pytest.mark.parametrize("width_px", [360, 1280])
def test_the_page_is_as_wide_as_the_window(page: Page, server: Server, width_px: int) -> None:
    page.set_viewport_size({"width": width_px, "height": 800})
    page.goto(f"{server.url}/docs")
    assert page.evaluate("document.documentElement.scrollWidth") <= width_px


def test_the_examples_have_the_address_that_was_asked(server: Server) -> None:
    got = httpx.get(f"{server.url}/docs")
    assert f"curl -F image=@photo.jpg {server.url}/classify" in unescape(got.text)
    policy = got.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "<script" not in got.text
    hostile = httpx.get(f"{server.url}/docs", headers={"Host": 'a"><script>'})
    assert "<script" not in hostile.text
