"""The page offers what the chosen model can answer, and no more."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

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


def test_a_multi_label_model_answers_with_all_its_labels(
    browser: Browser, tmp_path: Path, photo: Path
) -> None:
    package = tiny_package(tmp_path / "several", name="several", task="multi_label")
    with serving([package], tmp_path) as running:
        page = browser.new_page()
        page.goto(f"{running.url}/")
        expect(page.locator("#classes li")).to_have_count(3)
        expect(page.locator("#coverage-field")).to_be_hidden()  # there are no prediction sets
        with page.expect_response(lambda one: "tta=dense" in one.url) as got:
            page.get_by_text("dense", exact=True).first.click()
            page.set_input_files("#file", photo)
        labels = ", ".join(one["name"] for one in got.value.json()["labels"])
        expect(page.locator("#name")).to_have_text(labels or "none; likeliest Red")
        expect(page.locator("#what")).to_contain_text("Looked at the whole photo")
        page.get_by_role("button", name="Compare all modes").click()
        expect(page.locator("#compared tbody tr").first).to_be_visible()
        page.close()
