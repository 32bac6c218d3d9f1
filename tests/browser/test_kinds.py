"""The page offers what the chosen model can answer, and no more."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support.kinds import kind_package
from tests.support.server import Server, serving
from tests.support.tiny import tiny_package


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("kinds")
    packages = [
        kind_package(folder / "crops", "crops", 16, name="crops"),
        kind_package(folder / "windows", "average", 16, name="windows"),
        tiny_package(folder / "tiny"),
    ]
    with serving(packages, folder) as running:
        yield running


def offered(page: Page) -> list[str]:
    inputs = page.locator("#modes label:visible input").all()
    return [str(one.get_attribute("value")) for one in inputs]


def test_modes_and_heat_map_follow_the_model(page: Page, photo: Path) -> None:
    page.set_input_files("#file", photo)
    expect(page.locator("#model-used")).to_have_text("crops@1, fp32, confidence not calibrated")
    expect(page.locator("#mode-used")).to_have_text("Single crop")
    assert offered(page) == ["none", "five_crop", "ten_crop"]
    expect(page.locator("#heat-field")).to_be_hidden()
    page.locator("#model").select_option("windows@1")
    expect(page.locator("#model-used")).to_contain_text("windows@1")
    assert offered(page) == ["none", "dense", "centre_dense", "five_crop", "ten_crop"]
    page.get_by_text("centre and dense", exact=True).click()
    expect(page.locator("#mode-used")).to_have_text("Centre and dense")
    expect(page.locator("#views li")).to_have_count(6)
    page.get_by_label("heat map").check()
    expect(page.locator("#heat")).to_be_visible()
    page.locator("#model").select_option("tiny@1")
    expect(page.locator("#model-used")).to_have_text("tiny@1, int8")
    assert "adaptive" in offered(page)
    page.locator("#model").select_option("crops@1")  # it has no dense: back to its own mode
    expect(page.locator("#model-used")).to_contain_text("crops@1")
    expect(page.locator("#mode-used")).to_have_text("Single crop")
    expect(page.locator("#heat")).to_be_hidden()
