"""Answers that a small server rarely gives, and how the page says them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.embedded import unknown_package
from tests.support.images import coloured, encoded
from tests.support.server import serving

expect.set_options(timeout=60_000)
UNKNOWN = {"score": 0.83, "threshold": 0.61, "is_unknown": True, "known_rate": 0.95}


# Playwright cannot send a form with a file anew, so the answers are changed within the page.
CHANGE = """([mode, fields]) => {
  const ask = window.fetch;
  window.fetch = async (url, options) => {
    const response = await ask(url, options);
    if (!String(url).includes(`tta=${mode}`)) return response;
    return new Response(JSON.stringify({ ...await response.json(), ...fields }));
  };
}"""


def changed(page: Page, mode: str, **fields: Any) -> None:
    """Change `fields` of every answer of `mode`."""
    page.evaluate(CHANGE, [mode, fields])


def test_an_unknown_photo_is_warned_of(page: Page, photo: Path) -> None:
    changed(page, "five_crop", unknown=UNKNOWN)
    page.set_input_files("#file", photo)
    expect(page.locator("#unknown strong")).to_have_text("None of my three classes; closest: Red.")
    expect(page.locator("#unknown")).to_contain_text("score of 0.83 is above 0.61")
    page.set_input_files("#file", [photo, photo])
    expect(page.locator("#cards .badge")).to_have_text(["unknown", "unknown"])
    expect(page.get_by_text("unknown (2)")).to_be_visible()


@pytest.mark.parametrize("unknown", [None, {**UNKNOWN, "is_unknown": False}])
def test_a_known_photo_is_not(page: Page, photo: Path, unknown: object) -> None:
    changed(page, "five_crop", unknown=unknown)
    page.set_input_files("#file", photo)
    expect(page.locator("#answer")).to_be_visible()
    expect(page.locator("#unknown")).to_be_hidden()


def test_a_cheaper_mode_than_asked_is_said(page: Page, photo: Path) -> None:
    changed(page, "ten_crop", tta_applied="five_crop")
    page.get_by_text("ten crops", exact=True).click()
    page.set_input_files("#file", photo)
    expect(page.locator("#what")).to_contain_text(
        "The server was busy and ran five crops instead of ten crops."
    )


def test_classes_of_one_name_are_told_apart_by_their_ids(page: Page, photo: Path) -> None:
    cranes = [
        {"label": f"n{i}", "name": "crane", "index": i, "probability": 0.5 - i / 10}
        for i in range(2)
    ]
    changed(page, "five_crop", predictions=cranes, label="n0", name="crane")
    page.set_input_files("#file", photo)
    rows = page.locator("#bars tbody th")
    expect(rows).to_have_text(["crane (n0)", "crane (n1)"])
    expect(page.locator("#name")).to_have_text("crane (n0)")


def test_a_real_unknown_score_warns_on_the_page(browser: Browser, tmp_path: Path) -> None:
    with serving([unknown_package(tmp_path / "colours")], tmp_path) as running:
        page = browser.new_page()
        page.goto(f"{running.url}/")
        expect(page.locator("#classes li")).to_have_count(3)
        (tmp_path / "red.png").write_bytes(encoded(coloured("red")))
        odd = np.full((80, 100, 3), (250, 250, 250), np.uint8)
        (tmp_path / "white.png").write_bytes(encoded(odd))
        page.set_input_files("#file", tmp_path / "red.png")
        expect(page.locator("#name")).to_have_text("Red")
        expect(page.locator("#unknown")).to_be_hidden()
        page.set_input_files("#file", tmp_path / "white.png")
        expect(page.locator("#unknown strong")).to_contain_text("None of my three classes")
        page.close()
