"""'Is this right?': what a person says about an answer is stored, and the page says so."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from service.feedback.reading import read_feedback
from service.feedback.row import FeedbackRow
from tests.support.embedded import unknown_package
from tests.support.images import coloured, encoded
from tests.support.server import Server, serving
from tests.support.tiny import tiny_package

expect.set_options(timeout=60_000)
BLACK = np.zeros((80, 100, 3), np.uint8)
WHITE = np.full((80, 100, 3), 250, np.uint8)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "feedback"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, log: Path) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("judged")
    packages = [
        tiny_package(folder / "tiny"),
        tiny_package(folder / "several", name="several", task="multi_label"),
        unknown_package(folder / "colours", name="colours"),
    ]
    with serving(packages, folder, feedback_folder=str(log)) as running:
        yield running


def ask(page: Page, image: np.ndarray, folder: Path, model: str = "tiny@1") -> dict[str, Any]:
    """Show an image to the page; the answer of the server."""
    path = folder / f"{uuid.uuid4().hex}.png"  # a file must not change after it was chosen
    path.write_bytes(encoded(image))
    expect(page.locator("#classes li").first).to_be_attached()
    if page.locator("#model").input_value() != model:  # a choice asks again about the last photo
        page.locator("#model").select_option(model)
    expect(page.locator("body")).not_to_have_attribute("aria-busy", "true")
    mode = page.locator("#modes input:checked").get_attribute("value")
    with page.expect_response(lambda one: f"tta={mode}" in one.url) as got:
        page.set_input_files("#file", path)
    expect(page.locator("body")).not_to_have_attribute("aria-busy", "true")
    expect(page.locator("#feedback")).to_be_visible()
    return got.value.json()


def rows(log: Path, answer: dict[str, Any]) -> list[FeedbackRow]:
    """The feedback that counts about an answer: the latest."""
    return [row for row in read_feedback(log) if row.request_id == answer["request_id"]]


def saved(page: Page, words: str) -> None:
    expect(page.locator("#said")).to_contain_text(f"Saved: {words}.")


def test_a_right_answer_is_said_with_one_click(page: Page, log: Path, tmp_path: Path) -> None:
    answer = ask(page, coloured("red"), tmp_path)
    yes = page.get_by_role("button", name="Yes, Red")
    expect(yes).to_have_attribute("aria-pressed", "false")
    yes.click()
    saved(page, "Red is right")
    expect(yes).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("status").filter(has_text="Saved")).to_be_visible()  # read aloud
    (row,) = rows(log, answer)
    assert (row.label, row.outcome, row.source) == ("red", "right", "server")


def test_the_right_class_is_chosen_with_the_keyboard_and_corrected(
    page: Page, log: Path, tmp_path: Path
) -> None:
    answer = ask(page, coloured("red"), tmp_path)
    page.get_by_role("button", name="No…").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Find a class")).to_be_focused()
    choices = page.get_by_role("group", name="Right class").get_by_role("radio")
    expect(choices).to_have_count(3)
    expect(page.get_by_role("button", name="Save", exact=True)).to_be_disabled()
    page.keyboard.type("re")  # red and green
    expect(choices).to_have_count(2)
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("radio", name="Red")).to_be_focused()  # the likeliest class is first
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("radio", name="Green")).to_be_checked()
    page.keyboard.press("Enter")
    saved(page, "Green is right")
    assert [row.label for row in rows(log, answer)] == ["green"]
    expect(page.get_by_role("button", name="No…")).to_be_focused()
    expect(page.get_by_role("button", name="No…")).to_have_attribute("aria-expanded", "false")
    expect(page.get_by_role("button", name="No…")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Enter")
    page.keyboard.type("BLÜ")
    page.keyboard.press("Enter")  # the only match
    expect(page.get_by_role("radio", name="Blue")).to_be_checked()
    page.keyboard.press("Escape")
    expect(page.locator("#chooser")).to_be_hidden()
    page.get_by_role("button", name="Yes, Red").click()  # the latest choice counts
    saved(page, "Red is right")
    assert [row.label for row in rows(log, answer)] == ["red"]


@pytest.mark.parametrize(
    ("button", "words", "stored"),
    [
        ("None of the classes", "none of the classes is right", (None, True)),
        ("Wrong, but I do not know the class", "the answer is wrong", (None, False)),
    ],
)
def test_no_class_need_be_right(
    page: Page, log: Path, tmp_path: Path, button: str, words: str, stored: tuple[None, bool]
) -> None:
    answer = ask(page, coloured("blue"), tmp_path)
    page.get_by_role("button", name="No…").click()
    page.get_by_role("button", name=button).click()
    expect(page.locator("#said")).to_contain_text(f"Saved: {words}")
    (row,) = rows(log, answer)
    assert (row.label, row.foreign) == stored


def test_an_unknown_image_is_confirmed(page: Page, log: Path, tmp_path: Path) -> None:
    answer = ask(page, WHITE, tmp_path, "colours@1")
    assert answer["unknown"]["is_unknown"]
    page.get_by_role("button", name="Yes, none of the classes").click()
    saved(page, "none of the classes is right")
    (row,) = rows(log, answer)
    assert (row.foreign, row.outcome) == (True, "right")


def test_several_classes_of_a_multi_label_model(page: Page, log: Path, tmp_path: Path) -> None:
    answer = ask(page, coloured("red"), tmp_path, "several@1")
    present = [one["name"] for one in answer["labels"]]
    page.get_by_role("button", name="No…").click()
    choices = page.get_by_role("group", name="Right classes")
    ticked = choices.locator("input:checked")
    expect(ticked).to_have_count(len(present))  # those of the answer
    for name in ("Red", "Green", "Blue"):
        choices.get_by_role("checkbox", name=name).set_checked(name != "Green")
    page.get_by_label("Find a class").fill("gre")  # ticked classes stay ticked
    page.get_by_role("button", name="Save", exact=True).click()
    saved(page, "Red, Blue are right")
    (row,) = rows(log, answer)
    assert row.label == "blue;red"


def test_an_answer_without_labels_can_be_right(page: Page, log: Path, tmp_path: Path) -> None:
    answer = ask(page, BLACK, tmp_path, "several@1")
    assert answer["labels"] == []
    page.get_by_role("button", name="Yes, none of the classes is in it").click()
    saved(page, "none of the classes is right")
    (row,) = rows(log, answer)
    assert (row.foreign, row.outcome) == (True, "right")


LONG = "a class with a name that is longer than a phone is wide "


def test_a_class_of_a_thousand_is_found_on_a_phone(plain: Page, tmp_path: Path) -> None:
    def enlarge(route: Route) -> None:
        detail = route.fetch().json()
        more = [{"index": i, "id": f"n{i}", "name": f"{LONG}{i}"} for i in range(3, 1000)]
        route.fulfill(json={**detail, "labels": detail["labels"] + more})

    plain.set_viewport_size({"width": 360, "height": 740})
    plain.route("**/models/*", enlarge)
    plain.reload()
    ask(plain, coloured("red"), tmp_path)
    plain.get_by_role("button", name="No…").click()
    choices = plain.locator("#matches li")
    expect(choices).to_have_count(60)
    expect(plain.locator("#matches-count")).to_have_text("940 more: type a part of the name.")
    plain.get_by_label("Find a class").fill("phone 77")
    expect(choices).to_have_count(19)  # 77, 177, …, 770, …
    plain.get_by_label("Find a class").fill("wide 778")
    plain.keyboard.press("Enter")
    assert plain.evaluate("document.documentElement.scrollWidth") <= 360
    plain.get_by_role("button", name="Save", exact=True).click()
    said = plain.locator("#said")
    expect(said).to_contain_text("Not saved. label 'n778' is not a class of tiny")
    expect(plain.get_by_role("button", name="Save again")).to_be_hidden()  # it would fail again
    plain.get_by_label("Find a class").fill("no such class")
    expect(plain.locator("#matches-count")).to_have_text("No class has this name.")


@pytest.mark.parametrize(
    ("status", "message", "said"),
    [
        (507, "the log is full (QUINCUNX_FEEDBACK_MAX_BYTES)", "the log is full"),
        (429, "full", "The server is busy. Try again in 7 s."),
        (401, "no key", "This server asks for a key."),
    ],
)
def test_feedback_that_is_not_stored_says_why_and_is_sent_again(
    plain: Page, log: Path, tmp_path: Path, status: int, message: str, said: str
) -> None:
    answer = ask(plain, coloured("red"), tmp_path)
    plain.route(
        "**/feedback",
        lambda route: route.fulfill(
            status=status, json={"error": {"message": message}}, headers={"Retry-After": "7"}
        ),
    )
    plain.get_by_role("button", name="Yes, Red").click()
    expect(plain.locator("#said")).to_contain_text(f"Not saved. {said}")
    expect(plain.get_by_role("button", name="Yes, Red")).to_have_attribute("aria-pressed", "false")
    plain.unroute_all()
    plain.get_by_role("button", name="Save again").click()
    saved(plain, "Red is right")
    assert len(rows(log, answer)) == 1


def test_a_slow_server_stores_once_and_for_the_photo_that_was_meant(
    plain: Page, log: Path, tmp_path: Path
) -> None:
    first = ask(plain, coloured("red"), tmp_path)
    held: list[Route] = []
    plain.route("**/feedback", lambda route: held.append(route))
    yes = plain.get_by_role("button", name="Yes, Red")
    yes.click()
    expect(plain.locator("#said")).to_have_text("Saving…")
    yes.click()
    ask(plain, coloured("blue"), tmp_path)
    expect(plain.locator("#said")).to_be_empty()  # nothing was said about this photo
    (route,) = held  # the second click sent nothing
    with plain.expect_response("**/feedback"):
        route.continue_()
    expect(plain.locator("#said")).to_be_empty()
    plain.locator("#history button").nth(1).click()
    saved(plain, "Red is right")  # it is remembered with its photo
    assert [row.label for row in rows(log, first)] == ["red"]


def test_photos_of_a_sheet_are_judged_one_after_the_other(
    page: Page, log: Path, tmp_path: Path
) -> None:
    expect(page.locator("#classes li").first).to_be_visible()
    for name in ("red", "blue"):
        (tmp_path / f"{name}.png").write_bytes(encoded(coloured(name)))
    page.set_input_files("#file", [tmp_path / "red.png", tmp_path / "blue.png"])
    expect(page.locator("#status")).to_have_text("2 photos done.")
    cards = page.locator("#cards button")
    cards.first.click()
    steps = page.get_by_role("group", name="Photos of the contact sheet")
    expect(steps.get_by_role("button", name="Previous photo")).to_be_disabled()
    page.get_by_role("button", name="Yes, Red").click()
    expect(cards.first).to_contain_text("said: right")
    steps.get_by_role("button", name="Next photo").click()
    expect(page.locator("#what")).to_be_focused()
    expect(cards.nth(1)).to_have_attribute("aria-current", "true")
    expect(steps.get_by_role("button", name="Next photo")).to_be_disabled()
    page.get_by_role("button", name="No…").click()
    page.get_by_role("button", name="None of the classes").click()
    expect(cards.nth(1)).to_contain_text("said: wrong")
    page.set_input_files("#file", tmp_path / "red.png")
    expect(steps).to_be_hidden()


def test_a_real_server_with_keys_and_a_full_log(
    browser: Browser, tmp_path: Path, photo: Path
) -> None:
    package, folder = tiny_package(tmp_path / "tiny"), str(tmp_path / "log")
    with serving(
        [package], tmp_path, api_keys="key", feedback_folder=folder, feedback_max_bytes="100"
    ) as keyed:
        page = browser.new_page()
        page.goto(f"{keyed.url}/")
        key, said = page.get_by_label("API key"), page.locator("#said")
        key.fill("key")
        page.keyboard.press("Enter")
        expect(page.locator("#classes li").first).to_be_visible()
        page.set_input_files("#file", photo)
        page.get_by_role("button", name="Yes, Red").focus()
        key.evaluate("one => { one.value = 'old'; }")  # the key expired meanwhile
        page.keyboard.press("Enter")
        expect(said).to_contain_text("Not saved. The server does not know this key.")
        expect(key).to_be_focused()
        key.fill("key")
        page.get_by_role("button", name="Save again").click()
        expect(said).to_contain_text("the limit is 100 (QUINCUNX_FEEDBACK_MAX_BYTES)")
        page.close()


@pytest.mark.parametrize("said", [{"feedback": False}, {}])
def test_a_server_that_takes_no_feedback_is_not_asked(
    plain: Page, tmp_path: Path, said: dict[str, bool]
) -> None:
    """It is known from `GET /models`; an older server says nothing."""

    def without(route: Route) -> None:
        models = route.fetch().json()["models"]
        route.fulfill(json={"models": models, **said})

    plain.route("**/models", without)
    plain.reload()
    (tmp_path / "red.png").write_bytes(encoded(coloured("red")))
    plain.set_input_files("#file", tmp_path / "red.png")
    expect(plain.locator("#answer")).to_be_visible()
    expect(plain.locator("#feedback")).to_be_hidden()
