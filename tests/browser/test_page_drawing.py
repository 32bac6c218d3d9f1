"""The sentence that docs/page.md quotes is what the page says with the shipped package."""

import re
from pathlib import Path

from playwright.sync_api import BrowserContext, expect

from tests.support.server import serving

ROOT = Path(__file__).parents[2]


def test_the_first_drawing_opens_the_gate_as_the_documentation_says(
    context: BrowserContext, tmp_path: Path
) -> None:
    quoted = re.search(r"^> (Not sure .*)$", (ROOT / "docs" / "page.md").read_text(), re.MULTILINE)
    assert quoted is not None
    # The arithmetic of int8 differs a little between processors, so the share may, too.
    sentence = re.sub(r"\d+%", r"\\d+%", quoted[1].replace("(", r"\(").replace(")", r"\)"))
    with serving([ROOT / "models" / "imagenette-xresnet18"], tmp_path) as server:
        page = context.new_page()
        page.goto(server.url)
        page.get_by_role("button", name="church and parachute", exact=True).click()
        expect(page.locator("#what")).to_have_text(re.compile(sentence))
