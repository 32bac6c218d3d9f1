"""The page, used as a person uses it."""

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.images import coloured, encoded
from tests.support.server import Server

expect.set_options(timeout=60_000)


def choose(page: Page, photo: Path) -> None:
    page.set_input_files("#file", photo)
    expect(page.locator("#answer")).to_be_visible()


def test_five_crops_are_drawn_each_with_its_own_class(page: Page, photo: Path) -> None:
    choose(page, photo)
    labels = page.locator("#crops .crop span")
    expect(labels).to_have_text(["Red", "Red", "Blue", "Blue", "Red"])
    frame = page.locator("#frame").bounding_box()
    boxes = [box.bounding_box() for box in page.locator("#crops .crop").all()]
    assert frame is not None
    left_top, right_bottom = boxes[0], boxes[3]
    assert left_top is not None
    assert right_bottom is not None
    assert left_top["x"] == pytest.approx(frame["x"], abs=2)
    assert left_top["y"] == pytest.approx(frame["y"], abs=2)
    bottom = frame["y"] + frame["height"]
    assert right_bottom["y"] + right_bottom["height"] == pytest.approx(bottom, abs=2)


def test_bars_and_times_compare_single_crop_with_tta(page: Page, photo: Path) -> None:
    choose(page, photo)
    rows = page.locator("#bars tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.first.locator(".bar")).to_have_count(2)
    widths = [bar.bounding_box() for bar in page.locator("#bars tbody .bar.tta").all()]
    assert widths[0] is not None
    assert widths[1] is not None
    assert widths[0]["width"] > widths[1]["width"]
    times = page.locator("#times tbody tr")
    expect(times).to_have_count(2)
    assert times.nth(0).locator("td").last.inner_text() == "1"
    assert times.nth(1).locator("td").last.inner_text() == "5"


def test_the_time_of_decoding_is_shown_as_the_server_took_it(page: Page, photo: Path) -> None:
    with page.expect_response(lambda response: "tta=five_crop" in response.url) as got:
        choose(page, photo)
    times = page.locator("#times")
    heads = times.locator("thead th").all_inner_texts()
    taken = got.value.json()["timing_ms"]["decode"]
    assert taken > 0
    cell = times.locator("tbody tr").nth(1).locator("th, td").nth(heads.index("decode"))
    expect(cell).to_have_text(f"{taken:.1f}")


def test_a_photo_is_sent_as_it_is(page: Page, tmp_path: Path) -> None:
    """The page neither shrinks a photo nor writes it anew."""
    data = encoded(coloured("red", 900, 1200), "JPEG", quality=95)
    (tmp_path / "large.jpg").write_bytes(data)
    with page.expect_request(lambda request: "/classify" in request.url) as sent:
        choose(page, tmp_path / "large.jpg")
    size = int(sent.value.all_headers()["content-length"])
    assert len(data) < size < len(data) + 1000, "the form's own lines around the file"


def test_a_photo_without_a_suffix_is_asked_about(page: Page, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "IMG_1").write_bytes(photo.read_bytes())
    choose(page, tmp_path / "IMG_1")


def test_a_text_is_no_image(page: Page, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    page.set_input_files("#file", tmp_path / "notes.txt")
    expect(page.locator("#status")).to_have_text("notes.txt is no image.")


def test_a_switch_of_mode_asks_again(page: Page, photo: Path) -> None:
    choose(page, photo)
    with page.expect_response(lambda response: "tta=dense" in response.url):
        page.get_by_text("dense", exact=True).click()
    expect(page.locator("#mode-used")).to_have_text("dense")
    expect(page.locator("#crops .crop")).to_have_count(5)


def test_views_are_named_by_where_they_lie(page: Page, tmp_path: Path) -> None:
    """Six of them, where adaptive was not sure of a small pass and ran a dense one."""
    colours = [coloured(colour, 120, 240) for colour in ("red", "blue")]
    unsure = tmp_path / "unsure.png"
    unsure.write_bytes(encoded(np.concatenate(colours)))
    choose(page, unsure)
    with page.expect_response(lambda response: "tta=adaptive" in response.url):
        page.get_by_text("adaptive", exact=True).click()
    views = page.locator("#views li")
    expect(views).to_have_count(6)
    places = [text.partition(":")[0].strip() for text in views.all_inner_texts()]
    corners = ["top left", "top right", "bottom left", "bottom right"]
    assert places == ["first pass, whole", *corners, "centre"]


def test_the_heat_map_is_laid_over_the_photo(page: Page, photo: Path) -> None:
    choose(page, photo)
    heat = page.locator("#heat")
    expect(heat).to_be_hidden()
    page.get_by_label("heat map").check()
    expect(heat).to_be_visible()
    assert heat.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    assert heat.bounding_box() == page.locator("#picture").bounding_box()


def test_a_model_can_be_chosen(page: Page, photo: Path) -> None:
    choose(page, photo)
    expect(page.locator("#model-used")).to_contain_text("tiny@1")
    page.locator("#model").select_option("other@1")
    expect(page.locator("#model-used")).to_contain_text("other@1")


def test_the_keyboard_is_enough(page: Page, photo: Path) -> None:
    # Playwright asks for choosers when the first listener comes, and does not wait until it is
    # heard: a key pressed at once could be faster.
    page.on("filechooser", lambda _: None)
    expect(page.locator("#model-field")).to_be_visible()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "tta"
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.value") == "ten_crop"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "model"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(photo)
    expect(page.locator("#views li")).to_have_count(10)
    first = page.locator("#views button").first
    first.focus()
    expect(page.locator(".crop.picked")).to_have_count(1)


DROP = """([bytes, kind]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" }));
  const event = kind === "paste"
    ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true })
    : new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
  document.body.dispatchEvent(event);
}"""


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_a_photo_can_be_dropped_or_pasted(page: Page, photo: Path, kind: str) -> None:
    page.evaluate(DROP, [list(photo.read_bytes()), kind])
    expect(page.locator("#answer")).to_be_visible()


def test_what_is_no_photo_is_said_and_the_page_goes_on(
    browser: Browser, server: Server, tmp_path: Path, photo: Path
) -> None:
    page = browser.new_page()
    page.goto(f"{server.url}/")
    broken = tmp_path / "broken.png"
    broken.write_bytes(photo.read_bytes()[:100])
    page.set_input_files("#file", broken)
    expect(page.locator("#status.bad")).to_contain_text("cannot be decoded")
    choose(page, photo)
    expect(page.locator("#status.bad")).to_have_count(0)
    page.close()


def test_on_a_phone_nothing_runs_out_of_the_screen(
    browser: Browser, server: Server, photo: Path
) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True)
    page = context.new_page()
    page.goto(f"{server.url}/")
    choose(page, photo)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    context.close()


def test_dark_mode_is_dark(browser: Browser, server: Server) -> None:
    def brightness(scheme: str) -> int:
        context = browser.new_context(color_scheme=scheme)  # type: ignore[arg-type]
        page = context.new_page()
        page.goto(f"{server.url}/")
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        context.close()
        return sum(int(part) for part in colour[4:-1].split(","))

    assert brightness("dark") < 200 < 600 < brightness("light")


def test_the_page_forbids_itself_everything_from_outside(page: Page, server: Server) -> None:
    response = page.request.get(f"{server.url}/")
    assert "default-src 'none'" in response.headers["content-security-policy"]
