"""Photos that benchmarks enlarge: their size, their content and their cost."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.bench.enlarging import enlarge
from service.bench.image_size import PHONE, ImageSize
from service.bench.photos import ENLARGED, photos
from service.errors import UsageError
from service.inference.decode import decode
from tests.support.images import coloured, encoded


def black_and_white(height: int, width: int) -> bytes:
    """A PNG whose left half is black and whose right half is white."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, width // 2 :] = 255
    return encoded(pixels, "PNG")


@pytest.mark.parametrize(
    ("height", "width", "made"),
    [(30, 40, (320, 240)), (40, 30, (240, 320)), (30, 30, (320, 240)), (7, 90, (320, 240))],
)
def test_a_photo_gets_the_size_and_keeps_its_middle(
    height: int, width: int, made: tuple[int, int]
) -> None:
    data = enlarge(black_and_white(height, width), ImageSize(320, 240), seed=0)
    assert Image.open(io.BytesIO(data)).size == made
    pixels = decode(data).astype(float)
    assert pixels[:, : made[0] // 3].mean() < 30
    assert pixels[:, -made[0] // 3 :].mean() > 225


def test_nothing_is_stretched() -> None:
    """A square in the middle of a wide photo stays a square."""
    pixels = np.zeros((30, 90, 3), np.uint8)
    pixels[10:20, 40:50] = 255
    large = decode(enlarge(encoded(pixels, "PNG"), ImageSize(400, 300), seed=0))[..., 1] > 127
    rows, columns = (len(set(indices.tolist())) for indices in np.nonzero(large))
    assert rows == pytest.approx(100, abs=12)
    assert columns == pytest.approx(rows, abs=6)


def test_an_enlarged_photo_has_the_bytes_of_a_phone_photo() -> None:
    data = enlarge(encoded(coloured("red", 224, 224), "JPEG"), PHONE, seed=0)
    assert 2_000_000 <= len(data) <= 4_000_000


def test_the_same_seed_gives_the_same_file() -> None:
    photo = black_and_white(20, 30)
    assert enlarge(photo, ImageSize(64, 48), 1) == enlarge(photo, ImageSize(64, 48), 1)
    assert enlarge(photo, ImageSize(64, 48), 1) != enlarge(photo, ImageSize(64, 48), 2)


def test_a_folder_and_a_size_give_enlarged_photos_of_the_whole_folder(tmp_path: Path) -> None:
    for number in range(ENLARGED + 6):
        (tmp_path / f"{number:03}.jpg").write_bytes(encoded(coloured("red", 12, 16), "JPEG"))
    found = photos(tmp_path, ImageSize(32, 24), seed=0)
    assert len(found.files) == len(set(found.names)) == ENLARGED
    assert found.names[:3] != tuple(sorted(found.names))[:3], "chosen at random"
    assert found.description.startswith(f"{ENLARGED} photos, enlarged to 32×24 px with grain")
    assert found.description.endswith(f"chosen of {ENLARGED + 6}")
    assert {Image.open(io.BytesIO(data)).size for data in found.files} == {(32, 24)}
    assert photos(tmp_path, ImageSize(32, 24), seed=0).files == found.files


def test_a_broken_photo_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(encoded(coloured("red"), "JPEG")[:200])
    with pytest.raises(UsageError, match=r"broken\.jpg cannot be enlarged"):
        photos(tmp_path, ImageSize(32, 24), seed=0)
