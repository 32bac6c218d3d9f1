"""The page, used as a person uses it: one photo."""

import re
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


@pytest.fixture
def unsure(tmp_path: Path) -> Path:
    """Red above and blue below: one crop is not sure."""
    path = tmp_path / "unsure.png"
    colours = [coloured(colour, 120, 240) for colour in ("red", "blue")]
    path.write_bytes(encoded(np.concatenate(colours)))
    return path


def rectangles(page: Page, *selectors: str) -> list[list[dict[str, float]]]:
    """Where the elements of each selector are. All at one moment: the page moves as it fills."""
    return page.evaluate(
        """selectors => selectors.map(selector =>
            [...document.querySelectorAll(selector)].map(
                element => element.getBoundingClientRect().toJSON()))""",
        selectors,
    )


def test_five_crops_are_drawn_each_with_its_own_class(page: Page, photo: Path) -> None:
    choose(page, photo)
    labels = page.locator("#crops .crop span")
    expect(labels).to_have_text(["Red", "Red", "Blue", "Blue", "Red"])
    [frame], crops = rectangles(page, "#frame", "#crops .crop")
    assert crops[0]["left"] == pytest.approx(frame["left"], abs=2)
    assert crops[0]["top"] == pytest.approx(frame["top"], abs=2)
    assert crops[3]["bottom"] == pytest.approx(frame["bottom"], abs=2)


def test_the_single_crop_stands_beside_the_chosen_mode(page: Page, photo: Path) -> None:
    choose(page, photo)
    expect(page.locator("#what")).to_have_text(
        "Looked at five crops. The answer stayed Red. Cost 5.0 crops."
    )
    expect(page.locator("#single .facts")).to_have_text("cost 1.0 crops")
    expect(page.locator("#chosen .facts")).to_have_text("cost 5.0 crops")
    expect(page.locator("#single .crop.seen")).to_have_count(1)
    page.get_by_text("single crop", exact=True).first.click()
    expect(page.locator("#what")).to_contain_text("One crop was looked at")
    expect(page.locator("#single")).to_be_hidden()


def test_adaptive_says_what_its_gate_did(page: Page, unsure: Path, tmp_path: Path) -> None:
    page.get_by_text("adaptive", exact=True).click()
    choose(page, unsure)
    with page.expect_response(lambda response: "tta=adaptive" in response.url) as got:
        page.set_input_files("#file", unsure)
    answer = got.value.json()
    assert answer["gate_open"]
    first = round(100 * answer["views"][0]["probability"])
    expect(page.locator("#what")).to_contain_text(
        f"Not sure after one crop ({first}%): looked at the whole photo."
    )
    expect(page.locator("#words")).to_contain_text("It was open here")
    sure = tmp_path / "sure.png"
    sure.write_bytes(encoded(coloured("green")))
    page.set_input_files("#file", sure)
    expect(page.locator("#what")).to_have_text(
        re.compile(r"Sure after one crop \(\d+%\): stopped\. Cost 1\.0 crops\.")
    )
    expect(page.locator("#words")).to_contain_text("It stayed closed here")


def test_a_changed_answer_is_named(page: Page, tmp_path: Path) -> None:
    """The single crop reads the middle; the corner crops see more of the edges."""
    image = coloured("red", 96, 288)
    image[:, 60:228] = coloured("blue", 96, 168)
    (tmp_path / "wide.png").write_bytes(encoded(image))
    choose(page, tmp_path / "wide.png")
    expect(page.locator("#what")).to_contain_text("The answer changed from Blue to Red.")
    expect(page.locator("#single .verdict")).to_contain_text("Blue")
    expect(page.locator("#name")).to_have_text("Red")


def test_bars_and_times_compare_single_crop_with_tta(page: Page, photo: Path) -> None:
    choose(page, photo)
    rows = page.locator("#bars tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.first.locator(".bar")).to_have_count(2)
    [bars] = rectangles(page, "#bars tbody .bar.tta")
    assert bars[0]["width"] > bars[1]["width"]
    times = page.locator("#times tbody tr")
    expect(times).to_have_count(2)
    assert times.nth(0).locator("td").all_inner_texts()[-2:] == ["1", "1.00"]
    assert times.nth(1).locator("td").all_inner_texts()[-2:] == ["5", "5.00"]


def test_times_are_the_server_s_and_their_sum_leaves_decoding_out(page: Page, photo: Path) -> None:
    with page.expect_response(lambda response: "tta=five_crop" in response.url) as got:
        choose(page, photo)
    times = page.locator("#times")
    heads = times.locator("thead th").all_inner_texts()
    taken = got.value.json()["timing_ms"]
    assert taken["decode"] > 0
    cells = times.locator("tbody tr").nth(1).locator("th, td")
    expect(cells.nth(heads.index("decode"))).to_have_text(f"{taken['decode']:.1f}")
    views = taken["prepare"] + taken["finish"]
    for column, expected in (("views", views), ("sum*", views + taken["inference"])):
        shown = float(cells.nth(heads.index(column)).inner_text())
        assert shown == pytest.approx(expected, abs=0.06)


def test_views_are_as_sure_as_the_answer(page: Page, tmp_path: Path) -> None:
    grey = np.full((100, 130, 3), (104, 100, 112), np.uint8)  # all views see the same
    (tmp_path / "grey.png").write_bytes(encoded(grey))
    choose(page, tmp_path / "grey.png")
    shown = page.locator("#probability").inner_text()
    assert page.locator("#views .percent").all_inner_texts() == [shown] * 5


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


def test_a_photo_that_the_browser_cannot_show_is_answered_all_the_same(
    page: Page, tmp_path: Path
) -> None:
    (tmp_path / "photo.tiff").write_bytes(encoded(coloured("red"), "TIFF"))
    choose(page, tmp_path / "photo.tiff")
    expect(page.locator("#frame.unseen")).to_be_visible()
    expect(page.locator("#name")).to_have_text("Red")
    frame = page.locator("#frame").bounding_box()
    assert frame is not None
    assert frame["width"] / frame["height"] == pytest.approx(150 / 120, abs=0.02)


def test_a_photo_that_the_browser_does_not_turn_has_its_crops_in_the_right_places(
    page: Page, tmp_path: Path
) -> None:
    """Chromium ignores an orientation in XMP; the server does not."""
    xmp = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/'
    xmp += '22-rdf-syntax-ns#"><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
    xmp += 'tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    turned, upright = (coloured("red", 150, 100), tmp_path / "upright.jpg")
    (tmp_path / "turned.jpg").write_bytes(encoded(turned, "JPEG", xmp=xmp.encode()))
    upright.write_bytes(encoded(turned, "JPEG"))
    choose(page, tmp_path / "turned.jpg")
    expect(page.locator("#frame.unseen")).to_be_visible()
    frame = page.locator("#frame").bounding_box()
    assert frame is not None
    assert frame["width"] / frame["height"] == pytest.approx(150 / 100, abs=0.02)
    page.set_input_files("#file", upright)
    expect(page.locator("#answer[data-photo='upright.jpg']")).to_be_visible()
    expect(page.locator("#frame.unseen")).to_have_count(0)


def test_the_first_frame_of_an_animation_is_said(page: Page, tmp_path: Path) -> None:
    (tmp_path / "moving.gif").write_bytes(encoded(coloured("red"), "GIF"))
    choose(page, tmp_path / "moving.gif")
    expect(page.locator("#words")).to_contain_text("Of an animation, the first frame")


def test_a_switch_of_mode_asks_again(page: Page, photo: Path) -> None:
    choose(page, photo)
    with page.expect_response(lambda response: "tta=dense" in response.url):
        page.get_by_text("dense", exact=True).click()
    expect(page.locator("#mode-used")).to_have_text("Dense")
    expect(page.locator("#mode-help")).to_contain_text("One pass over the whole photo")
    expect(page.locator("#crops .crop")).to_have_count(5)


def test_coverage_and_aggregation_reach_the_answer(page: Page, photo: Path) -> None:
    choose(page, photo)
    with page.expect_response(lambda response: "coverage=0.99" in response.url) as got:
        page.locator("#coverage").select_option("0.99")
    names = ", ".join(one["name"] for one in got.value.json()["prediction_set_classes"])
    expect(page.locator("#set")).to_have_text(f"Prediction set, right in 99% of photos: {names}")
    with page.expect_response(lambda response: "aggregate=gmean" in response.url) as got:
        page.locator("#aggregate").select_option("gmean")
    assert got.value.json()["aggregate"] == "gmean"
    page.locator("#coverage").select_option("")
    expect(page.locator("#set")).to_be_hidden()


def test_views_are_named_by_where_they_lie(page: Page, unsure: Path) -> None:
    """Six of them, where adaptive was not sure of a small pass and ran a dense one."""
    choose(page, unsure)
    with page.expect_response(lambda response: "tta=adaptive" in response.url):
        page.get_by_text("adaptive", exact=True).click()
    views = page.locator("#views li")
    expect(views).to_have_count(6)
    places = [text.partition(":")[0].strip() for text in views.all_inner_texts()]
    corners = ["top left", "top right", "bottom left", "bottom right"]
    assert places == ["first pass, whole", *corners, "centre"]


def test_the_heat_map_is_laid_over_the_photo_with_its_class_and_scale(
    page: Page, photo: Path
) -> None:
    choose(page, photo)
    heat = page.locator("#heat")
    expect(heat).to_be_hidden()
    with page.expect_response(lambda response: "include=heatmap" in response.url) as got:
        page.get_by_label("heat map").check()
    expect(heat).to_be_visible()
    assert heat.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    heats, pictures = rectangles(page, "#heat", "#picture")
    assert heats == pictures
    expect(page.locator("#legend-name")).to_have_text("Where it looks like Red:")
    peak = got.value.json()["heatmap"]["peak"]
    expect(page.locator("#legend-peak")).to_have_text(f"{100 * peak:.1f}% (not calibrated)")
    page.get_by_label("heat map").uncheck()
    expect(page.locator("#legend")).to_be_hidden()


def test_a_model_can_be_chosen_and_says_what_it_knows(page: Page, photo: Path) -> None:
    expect(page.locator("#classes li")).to_have_text(["Red", "Green", "Blue"])
    choose(page, photo)
    expect(page.locator("#model-used")).to_contain_text("tiny@1")
    page.locator("#model").select_option("other@1")
    expect(page.locator("#model-used")).to_contain_text("other@1")
    expect(page.locator("#classes-count")).to_have_text("This model knows 5 classes")


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


def test_a_dropped_address_is_not_fetched_and_the_page_says_so(page: Page) -> None:
    page.evaluate("""() => {
      const data = new DataTransfer();
      data.setData("text/uri-list", "https://elsewhere.example/photo.jpg");
      const event = new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
      document.body.dispatchEvent(event);
    }""")
    expect(page.locator("#notice.bad #status")).to_contain_text("No file was dropped.")


def test_the_page_forbids_itself_everything_from_outside(page: Page, server: Server) -> None:
    response = page.request.get(f"{server.url}/")
    assert "default-src 'none'" in response.headers["content-security-policy"]


def test_on_a_phone_nothing_runs_out_of_the_screen(
    browser: Browser, server: Server, photo: Path
) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True)
    page = context.new_page()
    page.goto(f"{server.url}/")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    choose(page, photo)
    expect(page.locator("#what")).to_be_in_viewport()  # the options stand above it
    page.get_by_role("button", name="Compare all modes").click()
    expect(page.locator("#compared")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    [single], [chosen] = rectangles(page, "#single", "#chosen")
    assert single["bottom"] <= chosen["top"], "one column"
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
