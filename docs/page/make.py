"""Make the screenshots of docs/page.md: `PYTHONPATH=. python docs/page/make.py` (needs Chromium).

`python docs/page/make.py adaptive phone` makes only these.

It serves the shipped model and shows it the page's own drawings. Times on the screenshots are those
of the machine that ran this.
"""

import sys
import tempfile
from base64 import b64decode
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from tests.browser.conftest import CHROMIUM
from tests.support.server import serving

HERE = Path(__file__).parent
SHIPPED = HERE.parents[1] / "models" / "imagenette-xresnet18"
QUALITY = 80
GAP_PX = 24
MARGIN_PX = 12
DOWNLOAD = """async () => {  // the drawings as the page sends them
  const files = [];
  for (const image of document.querySelectorAll("#samples img")) {
    const drawing = new Image();
    drawing.src = image.src;
    await drawing.decode();
    const canvas = document.createElement("canvas");
    canvas.width = drawing.naturalWidth;
    canvas.height = drawing.naturalHeight;
    canvas.getContext("2d").drawImage(drawing, 0, 0);
    const name = image.src.split("/").at(-1).replace(".svg", ".jpg");
    files.push([name, canvas.toDataURL("image/jpeg", 0.9).split(",")[1]]);
  }
  return files;
}"""


def opened(browser: Browser, url: str, width: int = 1200, height: int = 900, **more: Any) -> Page:
    page = browser.new_context(viewport={"width": width, "height": height}, **more).new_page()
    page.goto(url)
    expect(page.locator("#classes li").first).to_be_visible()
    return page


def look_at(page: Page, drawing: str) -> None:
    page.get_by_role("button", name=drawing, exact=True).click()
    expect(page.locator("#answer")).to_be_visible()
    settled(page)


def settled(page: Page) -> None:
    expect(page.locator("body")).not_to_have_attribute("aria-busy", "true")
    expect(page.locator("#answer")).to_have_css("opacity", "1")
    page.mouse.move(0, 0)


def taken(page: Page, last: str | None = None) -> Image.Image:
    """The page as far as the end of the element `last`; without it what the window shows."""
    clip = None
    if last is not None:
        page.evaluate("scrollTo(0, 0)")
        width = page.evaluate("innerWidth")
        end = page.locator(last).evaluate("one => one.getBoundingClientRect().bottom")
        clip = {"x": 0, "y": 0, "width": width, "height": end + MARGIN_PX}
    data = page.screenshot(clip=clip, full_page=last is not None)  # type: ignore[arg-type]
    return Image.open(BytesIO(data)).convert("RGB")


def beside(pictures: list[Image.Image], columns: int) -> Image.Image:
    """Pictures of one width in rows, on grey."""
    width = pictures[0].width
    rows = [pictures[i : i + columns] for i in range(0, len(pictures), columns)]
    heights = [max(one.height for one in row) for row in rows]
    size = (
        columns * (width + GAP_PX) - GAP_PX,
        sum(heights) + GAP_PX * (len(rows) - 1),
    )
    canvas = Image.new("RGB", size, (128, 136, 142))
    top = 0
    for row, height in zip(rows, heights, strict=True):
        for column, one in enumerate(row):
            canvas.paste(one, (column * (width + GAP_PX), top))
        top += height + GAP_PX
    return canvas


def adaptive(browser: Browser, url: str) -> Image.Image:
    """A photo whose answer changes: what the README shows."""
    page = opened(browser, url)
    look_at(page, "church and parachute")
    return taken(page, "#work")


def modes(browser: Browser, url: str) -> Image.Image:
    """The heat map, the prediction set and the table of all modes."""
    page = opened(browser, url)
    page.locator("#coverage").select_option("0.95")
    look_at(page, "church and parachute")
    page.get_by_label("heat map").check()
    expect(page.locator("#legend")).to_be_visible()
    page.get_by_role("button", name="Compare all modes").click()
    expect(page.locator("#compared")).to_be_visible()
    settled(page)
    return taken(page, "#code")


def sheet(browser: Browser, url: str) -> Image.Image:
    """Several photos at once."""
    page = opened(browser, url)
    with tempfile.TemporaryDirectory() as folder:
        paths: list[Path] = []
        for name, data in page.evaluate(DOWNLOAD):
            paths.append(Path(folder) / name)
            paths[-1].write_bytes(b64decode(data))
        page.set_input_files("#file", paths)
        expect(page.locator("#status")).to_contain_text("photos done.")
        return taken(page, "#sheet")


def phone(browser: Browser, url: str) -> Image.Image:
    """One column, light and dark."""
    pictures: list[Image.Image] = []
    for scheme in ("light", "dark"):
        page = opened(browser, url, 390, 1300, color_scheme=scheme, has_touch=True)
        look_at(page, "church and parachute")
        page.locator("#answer").scroll_into_view_if_needed()
        page.evaluate("document.querySelector('#answer').scrollIntoView()")
        pictures.append(taken(page))
    return beside(pictures, 2)


def states(browser: Browser, url: str) -> Image.Image:
    """Empty, busy, a broken photo, and no server."""
    page = opened(browser, url, 1200, 940)
    pictures = [taken(page)]
    look_at(page, "golf ball")
    held: list[Route] = []
    page.route("**/classify?*", lambda route: held.append(route))
    page.get_by_role("button", name="gas pump").click()
    expect(page.locator("#answer")).to_have_css("opacity", "0.45")
    pictures.append(taken(page))
    page = opened(browser, url, 1200, 940)
    look_at(page, "golf ball")
    broken = {"name": "broken.jpg", "mimeType": "image/jpeg", "buffer": b"\xff\xd8\xff\xe0 broken"}
    page.set_input_files("#file", broken)  # type: ignore[arg-type]
    expect(page.locator("#notice.bad")).to_be_visible()
    settled(page)
    pictures.append(taken(page))
    for path in ("**/classify?*", "**/livez"):
        page.route(path, lambda route: route.abort())
    page.get_by_role("button", name="gas pump").click()
    expect(page.locator("#status")).to_contain_text("The server does not answer")
    settled(page)
    pictures.append(taken(page))
    half = [one.resize((720, 564), Image.Resampling.LANCZOS) for one in pictures]
    return beside(half, 2)


def feedback(browser: Browser, url: str) -> Image.Image:
    """The right class is chosen from the list."""
    page = opened(browser, url, 900)
    look_at(page, "gas pump")
    page.get_by_role("button", name="No…").click()
    page.get_by_role("radio", name="church").check()
    data = page.locator("#feedback").screenshot(animations="disabled")
    return Image.open(BytesIO(data)).convert("RGB")


SHOTS: tuple[Callable[[Browser, str], Image.Image], ...] = (
    adaptive, modes, sheet, phone, states, feedback,
)  # fmt: skip


def main() -> None:
    expect.set_options(timeout=60_000)
    with (
        tempfile.TemporaryDirectory() as folder,
        serving([SHIPPED], Path(folder), feedback_folder=f"{folder}/feedback") as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for shot in SHOTS:
            if sys.argv[1:] and shot.__name__ not in sys.argv[1:]:
                continue
            path = HERE / f"{shot.__name__}.webp"
            shot(browser, server.url).save(path, quality=QUALITY, method=6)
            print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")
        browser.close()


if __name__ == "__main__":
    main()
