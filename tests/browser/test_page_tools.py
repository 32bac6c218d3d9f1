"""Comparing modes, several photos at once, code to copy, and the history of the session."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, Route, expect

from tests.support.images import coloured, encoded
from tests.support.server import Server

expect.set_options(timeout=60_000)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """A red one, one whose answer five crops change, and a broken one."""
    wide = coloured("red", 96, 288)
    wide[:, 60:228] = coloured("blue", 96, 168)
    files = {"red.png": encoded(coloured("red")), "wide.png": encoded(wide)}
    files["broken.png"] = files["red.png"][:100]
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    return [tmp_path / name for name in files]


def choose(page: Page, photo: Path) -> None:
    page.set_input_files("#file", photo)
    expect(page.locator("#answer")).to_be_visible()
    expect(page.locator("body")).not_to_have_attribute("aria-busy", "true")


def test_all_modes_are_compared_in_turn_after_a_warm_up(page: Page, photo: Path) -> None:
    choose(page, photo)
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url.partition("tta=")[2].split("&")[0]))
    page.get_by_role("button", name="Compare all modes").click()
    rows = page.locator("#compared tbody tr")
    expect(rows).to_have_count(6)
    modes = ["none", "adaptive", "dense", "centre_dense", "five_crop", "ten_crop"]
    assert asked == modes * 6
    cells = [row.locator("th, td").all_inner_texts() for row in rows.all()]
    assert [row[0] for row in cells] == [
        "single crop", "adaptive", "dense", "centre and dense", "five crops", "ten crops",
    ]  # fmt: skip
    assert [row[3] for row in cells][-2:] == ["5.00", "10.00"]
    expect(page.locator("#compare-note")).to_contain_text("Median of five runs in turn")
    page.get_by_text("dense", exact=True).first.click()
    expect(page.locator("#compared")).to_be_hidden()  # it was of another question


def test_several_photos_make_a_contact_sheet(page: Page, photos: list[Path]) -> None:
    page.set_input_files("#file", photos[:2])
    expect(page.locator("#status")).to_have_text("2 photos done.")
    expect(page.locator("#sheet-summary")).to_contain_text(
        "Five crops changed 1 answer of the single crop at a mean cost of 5.00 crops."
    )
    cards = page.locator("#cards li")
    expect(cards).to_have_count(2)
    page.get_by_text("changed (1)").click()
    expect(cards.nth(0)).to_be_hidden()
    expect(cards.nth(1)).to_contain_text("wide.png")
    expect(cards.nth(1).locator("s")).to_have_text("Blue")
    cards.nth(1).get_by_role("button").click()
    expect(page.locator("#what")).to_contain_text("The answer changed from Blue to Red.")
    expect(page.locator("#sheet")).to_be_visible()
    expect(page.locator("#what")).to_be_focused()  # the keyboard goes on from there
    steps = page.locator("#steps")
    expect(steps).to_be_hidden()  # no other photo passes the filter
    page.get_by_text("all (2)").click()
    steps.get_by_role("button", name="Previous photo").click()
    expect(page.locator("#answer")).to_have_attribute("data-photo", "red.png")


def test_a_photo_may_be_looked_at_while_the_sheet_fills(page: Page, photos: list[Path]) -> None:
    later = photos[1]
    held: list[Route] = []
    page.set_input_files("#file", [photos[0], photos[0], later])
    expect(page.locator("#cards li")).to_have_count(3)
    holding, requests = True, 0

    def hold(route: Route) -> None:
        nonlocal requests
        requests += 1
        if holding and requests > 2:  # the first photo has two
            held.append(route)
        else:
            route.continue_()

    page.route("**/classify?*", hold)
    page.get_by_text("ten crops", exact=True).click()
    expect(page.locator("#cards li")).to_have_count(1)
    page.locator("#cards button").first.click()
    expect(page.locator("#what")).to_contain_text("Looked at ten crops.")
    expect(page.get_by_role("button", name="Compare all modes")).to_be_disabled()
    holding = False
    for route in held:
        route.continue_()
    expect(page.locator("#status")).to_have_text("3 photos done.")
    expect(page.locator("#cards li")).to_have_count(3)


def test_a_photo_that_fails_does_not_stop_the_others(
    server: Server, page: Page, photos: list[Path]
) -> None:
    page = page.context.new_page()  # its console may have errors: that of the broken photo
    page.goto(f"{server.url}/")
    page.set_input_files("#file", [photos[2], photos[0]])
    expect(page.locator("#status")).to_have_text("2 photos done.")
    cards = page.locator("#cards li")
    expect(cards.nth(0)).to_contain_text("cannot be decoded")
    expect(cards.nth(1)).to_contain_text("Red")
    page.get_by_text("failed (1)").click()
    expect(cards.nth(1)).to_be_hidden()
    expect(cards.nth(0)).to_be_visible()


def test_a_file_that_is_no_image_is_named_in_the_sheet(
    page: Page, photos: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    page.set_input_files("#file", [photos[0], tmp_path / "notes.txt"])
    expect(page.locator("#status")).to_have_text("2 photos done.")
    cards = page.locator("#cards li")
    expect(cards.nth(1)).to_contain_text("notes.txt")
    expect(cards.nth(1)).to_contain_text("This is not an image.")
    expect(page.locator("#again-failed")).to_be_hidden()  # it would fail again


def test_the_sheet_waits_for_a_busy_server(plain: Page, photos: list[Path]) -> None:
    refused = 0

    def refuse(route: Route) -> None:
        nonlocal refused
        refused += 1
        if refused > 2:
            route.continue_()
        else:
            route.fulfill(status=429, json={}, headers={"Retry-After": "0"})

    plain.route("**/classify?*", refuse)
    plain.set_input_files("#file", photos[:2])
    expect(plain.locator("#status")).to_have_text("2 photos done.")
    expect(plain.locator("#cards .failed")).to_have_count(0)


def test_only_failed_photos_are_asked_again(plain: Page, photos: list[Path]) -> None:
    def fail(route: Route) -> None:
        route.fulfill(status=500, json={"error": {"message": "an internal error"}})

    plain.set_input_files("#file", photos[:2])
    expect(plain.locator("#status")).to_have_text("2 photos done.")
    asked = 0

    def fail_second(route: Route) -> None:
        nonlocal asked
        asked += 1
        if asked > 2:  # the first photo has two requests
            fail(route)
        else:
            route.continue_()

    plain.route("**/classify?*", fail_second)
    plain.get_by_text("ten crops", exact=True).click()
    expect(plain.locator("#cards .failed")).to_have_text("an internal error")
    expect(plain.locator("#status")).to_have_text("2 photos done.")
    plain.unroute_all()
    urls: list[str] = []
    plain.on("request", lambda one: urls.append(one.url))
    plain.get_by_role("button", name="Ask again about the failed photos").click()
    expect(plain.locator("#cards .failed")).to_have_count(0)
    expect(plain.locator("#cards button")).to_have_count(2)
    assert sum("/classify" in url for url in urls) == 2
    expect(plain.locator("#again-failed")).to_be_hidden()


def test_a_sheet_goes_on_where_the_server_went_away(plain: Page, photos: list[Path]) -> None:
    asked = 0

    def go(route: Route) -> None:
        nonlocal asked
        asked += 1
        if asked > 2:
            route.abort()
        else:
            route.continue_()

    plain.route("**/classify?*", go)
    plain.route("**/livez", lambda route: route.abort())
    plain.set_input_files("#file", photos[:2])
    expect(plain.locator("#notice.bad #status")).to_contain_text("The server does not answer.")
    expect(plain.locator("#cards li")).to_have_count(1)
    urls: list[str] = []
    plain.on("request", lambda one: urls.append(one.url))
    plain.unroute_all()
    expect(plain.locator("#status")).to_have_text("2 photos done.")
    expect(plain.locator("#cards button")).to_have_count(2)
    assert sum("/classify" in url for url in urls) == 2  # the first photo was not sent again


def test_the_snippets_ask_the_same(page: Page, photo: Path, server: Server) -> None:
    choose(page, photo)
    with page.expect_response(lambda one: "coverage=0.95" in one.url) as got:
        page.locator("#coverage").select_option("0.95")
    expected = got.value.json()
    expect(page.locator("#python")).to_contain_text("coverage=0.95")
    curl, python = (page.locator(one).inner_text() for one in ("#curl", "#python"))

    def run(command: list[str]) -> str:
        done = subprocess.run(command, cwd=photo.parent, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert f'"probability":{expected["probability"]}'[:24] in run(["sh", "-c", curl])
    name, probability = run([sys.executable, "-c", python]).split()
    assert name == expected["name"]
    assert float(probability) == pytest.approx(expected["probability"])


@pytest.mark.parametrize("what", ["curl", "python"])
def test_snippets_are_copied(page: Page, photo: Path, what: str) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    choose(page, photo)
    page.locator(f"[data-copy={what}]").click()
    expect(page.locator("#status")).to_have_text("Copied.")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.locator(f"#{what}").inner_text()


def test_names_that_a_shell_would_read_are_not_put_into_the_snippets(
    page: Page, tmp_path: Path
) -> None:
    odd = tmp_path / "a'; rm -rf $HOME;.png"
    odd.write_bytes(encoded(coloured("red")))
    choose(page, odd)
    expect(page.locator("#curl")).to_contain_text("image=@photo.jpg")
    expect(page.locator("#python")).to_contain_text('"photo.jpg"')


def test_the_session_remembers_and_goes_back(page: Page, photos: list[Path]) -> None:
    choose(page, photos[0])
    expect(page.locator("#history")).to_be_hidden()
    page.set_input_files("#file", photos[1])
    tiles = page.locator("#history button")
    expect(tiles).to_have_count(2)
    expect(tiles.nth(0)).to_contain_text("wide.png")
    tiles.nth(1).click()
    expect(page.get_by_alt_text("The photo red.png").first).to_be_visible()
    page.get_by_text("dense", exact=True).first.click()  # asks about the photo that is shown
    expect(tiles).to_have_count(3)
    expect(tiles.nth(0)).to_contain_text("dense")
    tiles.nth(2).click()
    expect(page.locator("#modes input:checked")).to_have_value("five_crop")  # as it was asked
    expect(tiles.nth(0)).to_contain_text("red.png")


def test_a_thumbnail_is_small(page: Page, tmp_path: Path) -> None:
    large = np.kron(coloured("red", 60, 80), np.ones((20, 20, 1), np.uint8))
    (tmp_path / "large.jpg").write_bytes(encoded(large, "JPEG"))
    choose(page, tmp_path / "large.jpg")
    page.get_by_text("dense", exact=True).first.click()
    picture = page.locator("#history img").first
    expect(picture).to_be_visible()
    assert picture.evaluate("one => one.decode().then(() => one.naturalWidth)") == 320
