"""A real Chromium, headless, and a real server behind it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.support.images import coloured, encoded
from tests.support.server import Server, serving
from tests.support.tiny import tiny_package

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, for one module: while Playwright's loop lives, no other test can run one."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("paged")
    packages = [
        tiny_package(folder / "tiny"),
        tiny_package(folder / "other", classes=5, name="other"),
    ]
    with serving(packages, folder) as running:
        yield running


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Red above, blue below: the upper crops and the lower ones disagree."""
    import numpy as np

    image = np.concatenate([coloured("red", 150, 220), coloured("blue", 90, 220)])
    path = tmp_path_factory.mktemp("photos") / "photo.png"
    path.write_bytes(encoded(image))
    return path


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context()
    context.set_default_timeout(60_000)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, server: Server) -> Iterator[Page]:
    """The page, open; whatever goes wrong in it, or reaches outside, fails the test."""
    page = context.new_page()
    wrong: list[str] = []

    def judge(url: str) -> None:
        if not url.startswith((server.url, "blob:", "data:")):
            wrong.append(f"loaded from outside: {url}")

    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda note: wrong.append(note.text) if note.type == "error" else None)
    page.on("request", lambda request: judge(request.url))
    page.goto(f"{server.url}/")
    yield page
    assert not wrong


@pytest.fixture
def plain(context: BrowserContext, server: Server) -> Page:
    """The page in a browser where errors of requests are expected."""
    page = context.new_page()
    page.goto(f"{server.url}/")
    expect(page.locator("#classes li").first).to_be_visible()
    return page
