"""The states of the page: empty, busy, wrong, and without a server; keyboard and screen readers."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from tests.support.images import coloured, encoded
from tests.support.server import Server, serving
from tests.support.tiny import tiny_package

expect.set_options(timeout=60_000)


RENAME = """name => {  // every class has this name, as Playwright cannot change answers to forms
  const ask = window.fetch;
  window.fetch = async (url, options) => {
    const response = await ask(url, options);
    if (!String(url).includes("classify")) return response;
    const text = JSON.stringify(await response.json());
    return new Response(text.replaceAll(/"name":"[^"]*"/g, `"name":"${name}"`));
  };
}"""


def choose(page: Page, photo: Path) -> None:
    page.set_input_files("#file", photo)
    expect(page.locator("#answer")).to_be_visible()
    expect(page.locator("body")).not_to_have_attribute("aria-busy", "true")


def test_the_empty_page_explains_itself(page: Page) -> None:
    expect(page.locator("#answer")).to_be_hidden()
    expect(page.locator("#intro")).to_be_visible()
    expect(page.locator("#mode-help")).to_contain_text("It costs 5 crops.")
    expect(page.get_by_role("link", name="HTTP API")).to_have_attribute("href", "docs")


def test_every_drawing_is_answered(page: Page) -> None:
    drawings = page.locator("#samples button")
    expect(drawings).to_have_count(6)
    for drawing in drawings.all():
        with page.expect_response(lambda response: "tta=five_crop" in response.url) as got:
            drawing.click()
        assert got.value.status == 200
    expect(page.locator("#intro")).to_be_hidden()


def test_while_a_request_runs_the_old_answer_is_dimmed(
    plain: Page, photo: Path, tmp_path: Path
) -> None:
    choose(plain, photo)
    held: list[Route] = []
    free = False
    plain.route("**/classify?*", lambda one: one.continue_() if free else held.append(one))
    (tmp_path / "next.png").write_bytes(encoded(coloured("blue")))
    plain.set_input_files("#file", tmp_path / "next.png")
    expect(plain.locator("body")).to_have_attribute("aria-busy", "true")
    expect(plain.locator("#answer")).to_have_css("opacity", "0.45")
    expect(plain.locator("#name")).to_have_text("Red")
    expect(plain.locator("#status")).to_have_text("Looking at next.png…")
    free = True
    for route in held:
        route.continue_()
    expect(plain.locator("#name")).to_have_text("Blue")
    expect(plain.locator("#answer")).to_have_css("opacity", "1")


def test_a_slow_request_can_be_stopped(plain: Page, photo: Path) -> None:
    held: list[Route] = []
    plain.route("**/classify?*", lambda one: held.append(one))
    plain.set_input_files("#file", photo)
    plain.get_by_role("button", name="Stop").click()
    expect(plain.locator("#status")).to_have_text("Stopped.")
    expect(plain.locator("body")).not_to_have_attribute("aria-busy", "true")
    expect(plain.get_by_role("button", name="Stop")).to_be_hidden()
    expect(plain.get_by_role("button", name="Try again")).to_be_focused()
    plain.unroute_all()
    plain.keyboard.press("Enter")
    expect(plain.locator("#answer")).to_be_visible()


def test_a_photo_waits_for_the_description_of_the_model(
    context: BrowserContext, server: Server, photo: Path
) -> None:
    page = context.new_page()
    held: list[Route] = []
    page.route("**/models", lambda one: held.append(one))
    page.goto(f"{server.url}/#tta=dense")
    page.set_input_files("#file", photo)
    expect(page.locator("#status")).to_have_text("Waiting for the server…")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#status")).to_have_text("Stopped.")
    page.unroute_all(behavior="ignoreErrors")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#mode-used")).to_have_text("Dense")


def test_a_text_is_no_image(page: Page, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    page.set_input_files("#file", tmp_path / "notes.txt")
    expect(page.locator("#notice.bad #status")).to_have_text("notes.txt is not an image.")


@pytest.mark.parametrize("status", [413, 415, 422])
def test_a_refused_photo_is_named(plain: Page, photo: Path, status: int) -> None:
    detail = {"error": {"message": "said by the server"}}
    plain.route("**/classify?*", lambda route: route.fulfill(status=status, json=detail))
    plain.set_input_files("#file", photo)
    expect(plain.locator("#notice.bad #status")).to_have_text("photo.png: said by the server.")


def test_what_is_no_photo_is_said_and_the_page_goes_on(
    plain: Page, tmp_path: Path, photo: Path
) -> None:
    choose(plain, photo)
    broken = tmp_path / "broken.png"
    broken.write_bytes(photo.read_bytes()[:100])
    plain.set_input_files("#file", broken)
    status = plain.locator("#notice.bad #status")
    expect(status).to_contain_text("broken.png: ")
    expect(status).to_contain_text("cannot be decoded")
    expect(status).to_contain_text("Below is the answer for photo.png.")
    expect(plain.locator("#answer")).to_be_visible()  # no blank space
    expect(plain.locator("#retry")).to_be_hidden()  # the same file would fail again
    choose(plain, photo)
    expect(plain.locator("#notice.bad")).to_have_count(0)


def test_a_server_that_is_gone_is_said_in_words_and_found_again(
    plain: Page, photo: Path, server: Server
) -> None:
    for path in ("**/classify?*", "**/livez"):
        plain.route(path, lambda route: route.abort())
    plain.set_input_files("#file", photo)
    expect(plain.locator("#notice.bad #status")).to_contain_text("The server does not answer.")
    expect(plain.get_by_role("button", name="Try again")).to_be_visible()
    plain.unroute_all()
    expect(plain.locator("#answer")).to_be_visible()  # it asks by itself when the server is back
    expect(plain.locator("#notice.bad")).to_have_count(0)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (429, '{"error": {"message": "full"}}', "The server is busy. Try again in 7 s."),
        (502, "<html>Bad gateway</html>", "answered with 502"),
        (500, '{"error": {"message": "an internal error"}}', "an internal error"),
        (200, "<html>a login page</html>", "The answer is not JSON."),
    ],
)
def test_what_may_pass_can_be_tried_again(
    plain: Page, photo: Path, status: int, body: str, said: str
) -> None:
    plain.route(
        "**/classify?*",
        lambda route: route.fulfill(status=status, body=body, headers={"Retry-After": "7"}),
    )
    plain.set_input_files("#file", photo)
    expect(plain.locator("#notice.bad #status")).to_contain_text(said)
    plain.unroute_all()
    if status != 200:
        plain.get_by_role("button", name="Try again").click()
        expect(plain.locator("#answer")).to_be_visible()


def test_a_server_with_keys_asks_for_one(browser: Browser, tmp_path: Path, photo: Path) -> None:
    with serving([tiny_package(tmp_path / "tiny")], tmp_path, api_keys="key") as keyed:
        page = browser.new_page()
        page.goto(f"{keyed.url}/")
        expect(page.locator("#status")).to_have_text("This server asks for a key.")
        page.get_by_label("API key").fill("wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#status")).to_have_text("The server does not know this key.")
        page.get_by_label("API key").fill("key")
        page.keyboard.press("Tab")
        expect(page.locator("#classes li").first).to_be_visible()
        choose(page, photo)
        expect(page.locator("#curl")).to_contain_text('-H "Authorization: Bearer $KEY"')
        asked: list[str] = []
        page.on("request", lambda one: asked.append(one.url))
        page.get_by_label("API key").fill("wrong")  # a new key alone asks nothing about photos
        page.keyboard.press("Enter")
        expect(page.locator("#status")).to_have_text(
            "The server does not know this key. Below is the answer for photo.png."
        )
        assert not any("/classify" in url for url in asked)
        page.close()


def test_the_keyboard_is_enough(page: Page, photo: Path) -> None:
    # Playwright asks for choosers when the first listener comes, and does not wait until it is
    # heard: a key pressed at once could be faster.
    page.on("filechooser", lambda _: None)
    expect(page.locator("#model-field")).to_be_visible()

    def focused(what: str) -> str:
        return str(page.evaluate(f"document.activeElement.{what}"))

    for _ in page.locator("nav a").all():
        page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert focused("id") == "file"
    page.keyboard.press("Tab")
    assert focused("name") == "tta"
    page.keyboard.press("ArrowRight")
    assert focused("value") == "ten_crop"
    page.keyboard.press("Tab")
    assert focused("id") == "model"
    page.locator("#file").focus()
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(photo)
    expect(page.locator("#views li")).to_have_count(10)
    first = page.locator("#views button").first
    first.focus()
    expect(page.locator(".crop.picked")).to_have_count(1)


UNNAMED = """() => [
  ...document.querySelectorAll("button, input, select, a, summary")
].filter((node) => {
  if (!node.checkVisibility()) return false;
  const label = node.labels?.[0]?.textContent ?? "";
  return !(node.ariaLabel || node.textContent || label).trim();
}).map((node) => node.outerHTML)"""


def test_screen_readers_get_names_and_news(page: Page, photo: Path) -> None:
    choose(page, photo)
    assert page.evaluate(UNNAMED) == []
    assert page.locator("img:not([alt])").count() == 0
    said = page.locator("#what").inner_text()
    expect(page.get_by_role("status")).to_have_text(said)  # read aloud when it changes
    expect(page.get_by_role("figure", name="Five crops")).to_be_visible()
    expect(page.get_by_role("article", name=said)).to_be_visible()
    for table in ("Probability of each class", "Time of this answer on the server"):
        expect(page.get_by_role("table", name=table)).to_be_visible()
    expect(page.get_by_role("group", name="Mode: how to look at a photo")).to_be_visible()
    expect(page.get_by_alt_text("The photo photo.png").first).to_be_visible()


def test_a_reloaded_model_is_followed(plain: Page, photo: Path) -> None:
    """The page knows an older version, of other classes, than the server now has."""

    def outdate(route: Route) -> None:
        detail = route.fetch().json()
        route.fulfill(json={**detail, "model": "tiny@0", "labels": detail["labels"][:2]})

    plain.route("**/models/tiny*", outdate, times=1)
    plain.reload()
    expect(plain.locator("#classes li")).to_have_count(2)
    choose(plain, photo)
    expect(plain.locator("#classes li")).to_have_count(3)
    expect(plain.locator("#model-used")).to_contain_text("tiny@1")


def test_a_model_that_is_gone_is_said_and_the_others_are_offered(plain: Page, photo: Path) -> None:
    def older(route: Route) -> None:
        answer = route.fetch().json()
        first = {**answer["models"][0], "model": "tiny@0"}
        route.fulfill(json={**answer, "models": [first, answer["models"][1]]})

    plain.route("**/models", older, times=1)
    plain.route("**/models/tiny*", lambda route: route.continue_(url=route.request.url[:-4]))
    plain.reload()
    expect(plain.locator("#model")).to_have_value("tiny@0")
    plain.set_input_files("#file", photo)
    expect(plain.locator("#notice.bad #status")).to_contain_text("tiny@0")
    expect(plain.locator("#model")).to_have_value("tiny@1")
    choose(plain, photo)


def test_long_names_stay_on_a_phone_and_a_sheet_comes_into_view(
    plain: Page, photo: Path, tmp_path: Path
) -> None:
    long = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft"

    def rename(route: Route) -> None:
        detail = route.fetch().json()
        route.fulfill(
            json={**detail, "labels": [{**one, "name": long} for one in detail["labels"]]}
        )

    plain.set_viewport_size({"width": 360, "height": 740})
    plain.route("**/models/tiny*", rename)
    plain.reload()
    expect(plain.locator("#classes li").first).to_be_visible()
    plain.evaluate(RENAME, long)
    choose(plain, photo)
    expect(plain.locator("#name")).to_contain_text(long)
    plain.get_by_role("button", name="Compare all modes").click()
    expect(plain.locator("#compared")).to_be_visible()
    assert plain.evaluate("document.documentElement.scrollWidth") <= 360
    wide = "#answer :is(section, figure, table, button, p, h2, li)"
    right = plain.locator(wide).evaluate_all(
        "all => Math.max(...all.filter((one) => !one.closest('.frame'))"
        ".map((one) => one.getBoundingClientRect().right))"
    )
    assert right <= 360, "nothing is cut off"
    plain.evaluate("scrollTo(0, 0)")
    plain.set_input_files("#file", [photo, photo])
    expect(plain.locator("#status")).to_have_text("2 photos done.")
    expect(plain.locator("#sheet-title")).to_be_in_viewport()
    assert plain.evaluate("document.documentElement.scrollWidth") <= 360
