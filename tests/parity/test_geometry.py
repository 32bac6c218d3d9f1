"""The geometry of views is torchvision's, to the pixel, odd sizes included."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import functional as reference

from service.inference.image.geometry import Size, shorter_side
from service.inference.image.views import resize, size_of
from service.inference.tta.passes import make_views
from service.inference.tta.planner import Planner
from service.package.manifest import InputSize
from tests.support.images import drawn

SIZES = [(160, 160), (161, 200), (233, 160), (97, 331), (375, 500), (500, 333), (1, 3), (40, 7)]


def theirs(image: NDArray[np.uint8], resize_px: int) -> Image.Image:
    return reference.resize(Image.fromarray(image), resize_px)  # type: ignore[arg-type]


def ours(image: NDArray[np.uint8], mode: str, planner: Planner) -> list[NDArray[np.uint8]]:
    passes = planner.passes(mode, size_of(image))  # type: ignore[arg-type]
    return [view.pixels for view in make_views(image, passes)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("side_px", [64, 96, 160])
def test_resize_equals_torchvision(size: tuple[int, int], side_px: int) -> None:
    image = drawn(*size, seed=sum(size))
    expected = np.asarray(theirs(image, side_px))
    got = resize(image, shorter_side(Size(*size), side_px))
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("resize_px", "crop_px"), [(96, 64), (160, 128), (96, 96)])
@pytest.mark.parametrize("mode", ["none", "five_crop", "ten_crop"])
def test_crops_equal_torchvision(
    size: tuple[int, int], resize_px: int, crop_px: int, mode: str
) -> None:
    image = drawn(*size, seed=sum(size))
    whole = theirs(image, resize_px)
    made = {
        "none": lambda: [reference.center_crop(whole, [crop_px, crop_px])],  # type: ignore
        "five_crop": lambda: reference.five_crop(whole, [crop_px, crop_px]),  # type: ignore
        "ten_crop": lambda: reference.ten_crop(whole, [crop_px, crop_px]),  # type: ignore
    }[mode]()
    planner = Planner(InputSize(crop_px=crop_px, resize_px=resize_px))
    got = ours(image, mode, planner)
    assert len(got) == len(made)
    for view, expected in zip(got, made, strict=True):
        np.testing.assert_array_equal(view, np.asarray(expected))
