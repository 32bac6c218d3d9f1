"""The option `known_rate` on the page, and the options in the page's address."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import BrowserContext, Error, Page, Route, expect

from tests.support.embedded import RATES, unknown_package
from tests.support.images import encoded
from tests.support.server import Server, serving
from tests.support.tiny import tiny_package

expect.set_options(timeout=60_000)
RATE = "#known-rate"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("rated")
    packages = [unknown_package(folder / "colours", name="colours"), tiny_package(folder / "tiny")]
    with serving(packages, folder) as running:
        yield running


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """White is not a class."""
    path = tmp_path / "white.png"
    path.write_bytes(encoded(np.full((80, 100, 3), 250, np.uint8)))
    return path


def ready(page: Page) -> None:
    expect(page.locator("#classes li").first).to_be_visible()
    expect(page.locator("body")).not_to_have_attribute("aria-busy", "true")


def test_the_rates_of_the_model_are_offered_and_explained(page: Page) -> None:
    ready(page)
    values = page.locator(f"{RATE} option").evaluate_all("all => all.map((one) => one.value)")
    assert values[:2] == ["", "off"]
    rates = [float(value) for value in values[2:]]
    assert rates == sorted(rates)
    assert min(rates) == RATES[0]
    assert max(rates) == RATES[-1]
    assert 0.95 not in rates, "it is the model's own"
    expect(page.locator(f"{RATE} option").first).to_have_text("95% (default)")
    expect(page.get_by_label("Known photos accepted")).to_have_accessible_description(
        "Known photos accepted: the share of photos of the model's classes that are not called "
        "unknown. With a higher share, fewer photos of other things are called unknown too."
    )


def test_the_rate_reaches_the_request_the_answer_and_the_code(page: Page, odd: Path) -> None:
    ready(page)
    page.set_input_files("#file", odd)
    expect(page.locator("#unknown")).to_contain_text("95% of photos of known classes")
    with page.expect_response(lambda one: "known_rate=0.99" in one.url) as got:
        page.locator(RATE).select_option("0.99")
    assert got.value.json()["unknown"]["known_rate"] == 0.99
    expect(page.locator("#unknown")).to_contain_text("99% of photos of known classes")
    expect(page.locator("#curl")).to_contain_text("known_rate=0.99")
    expect(page.locator("#python")).to_contain_text(", known_rate=0.99")
    page.locator(RATE).select_option("off")
    expect(page.locator("#python")).to_contain_text(', known_rate="off"')
    expect(page.locator("#unknown")).to_be_hidden()


def test_history_and_address_keep_the_rate(page: Page, odd: Path, server: Server) -> None:
    ready(page)
    page.locator(RATE).select_option("0.9")
    page.get_by_text("five crops", exact=True).click()
    page.set_input_files("#file", odd)
    expect(page.locator("#curl")).to_contain_text("known_rate=0.9")
    page.locator(RATE).select_option("off")
    expect(page.locator("#curl")).to_contain_text("known_rate=off")  # else dense would end it
    page.get_by_text("dense", exact=True).first.click()
    expect(page.locator("#curl")).to_contain_text("tta=dense&known_rate=off")
    page.locator("#history button").last.click()
    expect(page.locator(RATE)).to_have_value("off")  # the last answer of five crops
    expect(page.locator("#modes input:checked")).to_have_value("five_crop")
    page.reload()
    ready(page)
    expect(page.locator(RATE)).to_have_value("off")
    expect(page.locator("#modes input:checked")).to_have_value("five_crop")


def test_a_link_chooses_the_options(page: Page, odd: Path, server: Server) -> None:
    page.goto(f"{server.url}/#tta=dense&known_rate=0.972&model=colours%401&aggregate=gmean")
    ready(page)
    expect(page.locator("#modes input:checked")).to_have_value("dense")
    expect(page.locator("#aggregate")).to_have_value("gmean")
    expect(page.locator(f"{RATE} option:checked")).to_have_text("97.2%")
    with page.expect_response(lambda one: "known_rate=0.972" in one.url) as got:
        page.set_input_files("#file", odd)
    assert got.value.json()["unknown"]["known_rate"] == 0.972
    with page.expect_response(lambda one: "known_rate=0.9" in one.url):
        page.evaluate("location.hash = '#tta=five_crop&known_rate=0.9'")  # another link
    expect(page.locator("#mode-used")).to_have_text("Five crops")
    page.goto("about:blank")
    page.goto(f"{server.url}/#tta=adaptive&known_rate=2&model=other&aggregate=best")  # not offered
    ready(page)
    for node, value in ((RATE, ""), ("#aggregate", "mean"), ("#model", "colours@1")):
        expect(page.locator(node)).to_have_value(value)
    expect(page.locator("#notice.bad #status")).to_have_text(
        "colours@1 has no tta=adaptive, known_rate=2, model=other, aggregate=best, which the "
        "address names."
    )
    expect(page).to_have_url(f"{server.url}/#tta=none&model=colours%401")


@pytest.mark.parametrize("link", ["tta=dense&known_rate=0.95", "known_rate=.9", "aggregate=mean"])
def test_a_link_to_what_is_offered_is_no_error(page: Page, server: Server, link: str) -> None:
    page.goto("about:blank")
    page.goto(f"{server.url}/#{link}")
    ready(page)
    expect(page.locator("#notice.bad")).to_have_count(0)


@pytest.mark.parametrize(
    "early", ["location.hash = '#tta=dense'", "document.querySelector('[value=dense]').click()"]
)
def test_a_choice_before_the_models_are_known_is_kept(
    context: BrowserContext, server: Server, early: str
) -> None:
    """The first question to the server waits until the choice was made."""
    page = context.new_page()
    wrong: list[Error] = []
    page.on("pageerror", lambda error: wrong.append(error))
    page.add_init_script(
        f"""const ask = fetch;
        window.fetch = async (...given) => {{
            window.fetch = ask;
            {early};
            await new Promise(done => setTimeout(done, 50));
            return ask(...given);
        }};"""
    )
    page.goto(f"{server.url}/")
    ready(page)
    expect(page.locator("#modes input:checked")).to_have_value("dense")
    assert not wrong


def test_without_an_unknown_score_the_reason_is_given(page: Page, odd: Path) -> None:
    ready(page)
    page.locator(RATE).select_option("0.9")
    page.locator("#model").select_option("tiny@1")
    expect(page.locator(RATE)).to_be_disabled()
    expect(page.locator("#rate-help")).to_contain_text("This model has no unknown score")
    with page.expect_request(lambda one: "/classify" in one.url) as asked:
        page.set_input_files("#file", odd)
    assert "known_rate" not in asked.value.url


def test_a_mode_without_an_unknown_score_gives_the_reason(page: Page, server: Server) -> None:
    def without(route: Route) -> None:
        detail = route.fetch().json()
        for mode in detail["mode_options"]:
            if mode["mode"] == "ten_crop":
                del mode["known_rates"]
        route.fulfill(json=detail)

    page.route("**/models/*", without)
    page.reload()
    ready(page)
    page.get_by_text("ten crops", exact=True).click()
    expect(page.locator(RATE)).to_be_disabled()
    expect(page.locator("#rate-help")).to_have_text("The mode ten crops has no unknown score.")
    page.get_by_text("five crops", exact=True).click()
    expect(page.locator(RATE)).to_be_enabled()
