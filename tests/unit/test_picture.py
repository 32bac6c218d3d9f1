"""Predictions as pictures: HTML for notebooks, an image for files, and both of any content."""

import base64
import io
import re
import subprocess
import sys
import types
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageShow

from service.errors import UsageError
from service.inference.image.geometry import FractionBox
from service.inference.prediction import Prediction, TopClass
from service.inference.predictor import Predictor
from tests.support.images import coloured, encoded
from tests.support.tiny import tiny_package

BAD = '<script>alert("x")</script>\x1b[31m\u202e'


@pytest.fixture(scope="module", name="predictor")
def _predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = tiny_package(tmp_path_factory.mktemp("pictures") / "tiny", int8=False)
    return Predictor.from_package(folder, provider="cpu", threads=1)


def photo(width: int = 300, height: int = 200) -> bytes:
    return encoded(coloured("red", height, width), "JPEG")


def image_in(html: str) -> Image.Image:
    (data,) = re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", html)
    return Image.open(io.BytesIO(base64.b64decode(data)))


class Tags(HTMLParser):
    """Counts open tags, and fails where they do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)
        if tag not in ("img", "rect"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag != "rect":
            assert self._open.pop() == tag


def test_html_shows_the_image_its_views_and_the_classes(predictor: Predictor) -> None:
    (prediction,) = predictor.classify([photo()], "five_crop")
    html = prediction._repr_html_()
    assert image_in(html).size == (256, 171)
    assert Tags(html).seen.count("rect") == 5
    for top in prediction.top:
        assert f"{top.probability:.1%}" in html
        assert top.name in html
    assert "five_crop, cost 5.0 crops" in html
    assert "script" not in html
    assert len(html) < 60_000


def test_the_picture_is_an_image_that_can_be_saved(predictor: Predictor, tmp_path: Path) -> None:
    (prediction,) = predictor.classify([photo(200, 600)], "none")
    prediction.picture().save(tmp_path / "answer.png")
    with Image.open(tmp_path / "answer.png") as picture:
        assert picture.mode == "RGB"
        assert picture.height >= 256
        red, green, blue = np.asarray(picture.convert("RGB"))[120, 60].astype(int)
        assert red > green + 50  # the photo itself
        assert red > blue + 50


def test_names_cannot_change_the_page(predictor: Predictor) -> None:
    (prediction,) = predictor.classify([photo()], "none")
    top = tuple(TopClass(k, BAD, BAD * 40, 0.5) for k in range(2))
    html = replace(prediction, top=top, prediction_set_classes=top, labels=top)._repr_html_()
    assert "script" not in Tags(html).seen
    assert "\x1b" not in html
    assert replace(prediction, top=top, labels=top).picture().size[0] == 660


@pytest.mark.parametrize("size", [(8, 400), (400, 8), (9, 9), (3000, 2000)])
def test_images_of_any_shape(predictor: Predictor, size: tuple[int, int]) -> None:
    (prediction,) = predictor.classify([photo(*size)], "none")
    assert max(image_in(prediction._repr_html_()).size) == 256
    assert prediction.picture().size[0] == 660


@pytest.mark.parametrize("corner", [(0.0, 0.0), (0.5, 0.25), (0.999, 0.999)])
def test_a_view_may_be_smaller_than_a_pixel_of_the_picture(
    predictor: Predictor, corner: tuple[float, float]
) -> None:
    left, top = corner
    box = FractionBox(left, top, left + 0.001, top + 0.001)
    (prediction,) = predictor.classify([photo(3000, 2000)], tta="custom", boxes=(box,))
    assert prediction.picture().size[0] > 256
    assert "<rect" in prediction._repr_html_()


def test_pixels_are_copied_small(predictor: Predictor) -> None:
    pixels = coloured("red", 900, 1200).copy()
    (prediction,) = predictor.classify([pixels], "none")
    pixels[:] = 0  # the buffer of a camera gets its next image
    assert isinstance(prediction.image, np.ndarray)
    assert max(prediction.image.shape) <= 512
    assert np.asarray(image_in(prediction._repr_html_()))[80, 120, 0] > 100


def test_without_an_image_there_is_the_rest(predictor: Predictor) -> None:
    (prediction,) = predictor.classify([photo()], "none", keep_images=False)
    assert prediction.image is None
    html = prediction._repr_html_()
    assert "<img" not in html
    assert prediction.top[0].name in html
    assert prediction.picture().size[0] == 660
    assert "image=" not in repr(prediction)


def test_a_list_of_predictions_is_shown_up_to_a_limit(predictor: Predictor) -> None:
    predictions = predictor.classify([photo()] * 3, "none")
    assert isinstance(predictions, list)
    assert predictions._repr_html_().count("<img") == 3
    many = type(predictions)([predictions[0]] * 60)
    assert many._repr_html_().count("<img") == 50
    assert "and 10 more" in many._repr_html_()


def test_boxes_of_one_place_are_drawn_once(predictor: Predictor) -> None:
    box = FractionBox(0.1, 0.1, 0.9, 0.9)
    boxes = (box, replace(box, flip=True))
    (prediction,) = predictor.classify([photo()], "custom", boxes=boxes)
    assert Tags(prediction._repr_html_()).seen.count("rect") == 1


def test_show_asks_the_notebook_or_the_viewer(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    (prediction,) = predictor.classify([photo()], "none")
    viewed: list[object] = []
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", "")
    with pytest.raises(UsageError, match="a screen is needed"):
        prediction.show()
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(ImageShow, "show", lambda image: viewed.append(image) or True)
    prediction.show()
    assert isinstance(viewed[0], Image.Image)
    monkeypatch.setattr(ImageShow, "show", lambda image: False)
    with pytest.raises(UsageError, match=r"picture\(\)\.save"):
        prediction.show()
    displayed: list[Prediction] = []
    notebook = types.SimpleNamespace(
        get_ipython=lambda: types.SimpleNamespace(kernel=object()),
        display=types.SimpleNamespace(display=displayed.append),
    )
    monkeypatch.setitem(sys.modules, "IPython", notebook)  # type: ignore[arg-type]
    prediction.show()
    assert displayed == [prediction]


def test_pictures_need_neither_torch_nor_matplotlib() -> None:
    code = (
        "import sys, service.picture.card, service.picture.html, service.picture.drawing, "
        "service.picture.viewing\n"
        "print([name for name in ('torch', 'fastai', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
