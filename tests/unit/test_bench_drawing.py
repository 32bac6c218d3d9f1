"""The JPEGs that benchmarks draw: their size in pixels and bytes, and that they repeat."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from service.bench.drawing import draw
from service.bench.image_size import PHONE, STANDARD, ImageSize
from service.bench.photos import DRAWN, DRAWN_LARGE, drawn, photos
from service.commands.bench import app
from service.errors import UsageError
from service.inference.decode import decode
from tests.support.images import coloured, encoded


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("500x375", STANDARD),
        ("4032X3024", PHONE),
        ("4032×3024", PHONE),
        ("1x1", ImageSize(1, 1)),
        ("65500x1", ImageSize(65_500, 1)),
    ],
)
def test_a_size_is_read(text: str, size: ImageSize) -> None:
    assert ImageSize.parse(text) == size
    assert ImageSize.parse(size.in_file_names) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "80",
        "80x",
        "x80",
        "0x60",
        "60x0",
        "wide",
        "-5x5",
        "5x5x5",
        "5 x 5",
        "5.0x5",
        "²x5",
        "٣x5",
    ],
)
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="WIDTHxHEIGHT"):
        ImageSize.parse(text)


def test_a_size_above_the_limits_is_refused_with_the_limit() -> None:
    with pytest.raises(UsageError, match="65500 px"):
        ImageSize.parse("65501x10")
    with pytest.raises(UsageError, match="300 MP; benchmarks draw at most 200 MP"):
        ImageSize.parse("20000x15000")


@pytest.mark.parametrize("size", ["12MP", ""])
def test_the_command_refuses_a_wrong_size(size: str) -> None:
    asked = ["load", "http://127.0.0.1:9", "--rate", "1", "--image-size", size]
    with pytest.raises(UsageError, match="WIDTHxHEIGHT"):
        CliRunner().invoke(app, asked, catch_exceptions=False)


def test_a_photo_of_a_phone_has_the_bytes_of_one() -> None:
    (data,) = draw(PHONE, seed=0, count=1)
    assert 2_000_000 <= len(data) <= 4_000_000
    assert Image.open(io.BytesIO(data)).size == (4032, 3024)


@pytest.mark.parametrize("size", [ImageSize(1, 1), ImageSize(3, 700), ImageSize(1100, 530)])
def test_drawn_images_decode_to_the_size_asked_for(size: ImageSize) -> None:
    for data in draw(size, seed=1, count=2):
        assert decode(data).shape == (size.height_px, size.width_px, 3)


def test_drawn_images_differ_and_repeat() -> None:
    files = draw(STANDARD, seed=3, count=4)
    assert len(set(files)) == 4
    draw.cache_clear()
    assert draw(STANDARD, seed=3, count=4) == files
    assert draw(STANDARD, seed=3, count=4) is draw(STANDARD, seed=3, count=4), "drawn once"
    assert not set(files) & set(draw(STANDARD, seed=4, count=4))


def test_drawn_images_have_grain_everywhere() -> None:
    """Flat areas would cost a decoder too little."""
    pixels = decode(draw(ImageSize(640, 480), seed=0, count=1)[0]).astype(np.float32)
    blocks = pixels[..., 1].reshape(15, 32, 20, 32).std(axis=(1, 3))
    assert blocks.min() > 2


def test_the_description_names_the_size() -> None:
    found = photos(None, ImageSize(80, 60), seed=0)
    assert found.description.startswith("16 drawn JPEGs of 80×60 px")
    assert len(found.files) == DRAWN
    assert len(photos(None, None, seed=0).files) == DRAWN
    assert "500×375" in photos(None, None, seed=0).description


def test_fewer_large_images_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.bench.photos.LARGE_PIXELS", 100)
    assert len(drawn(ImageSize(20, 10), seed=0).files) == DRAWN_LARGE


def test_photos_of_a_folder_are_described_with_their_sizes(tmp_path: Path) -> None:
    for number, width in enumerate((1000, 2000, 4000)):
        image = encoded(coloured("red", 1000, width), "JPEG")
        (tmp_path / f"{number}.jpg").write_bytes(image)
    assert "of 1.00 to 4.00 MP, 2.00 MP in the median" in photos(tmp_path, None, 0).description
