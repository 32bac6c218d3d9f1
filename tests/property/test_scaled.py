"""Scaled decoding: the same shapes and places as exact decoding, and the same pixels or nearly."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from service.errors import BadImage, TooLarge
from service.inference.decode import decode, decode_image
from service.inference.image.geometry import FractionBox, LeastSize, Size
from service.inference.image.views import mirrored, resize, resized_crop, size_of
from service.inference.tta.passes import make_views
from service.inference.tta.planner import Planner
from service.package.manifest import InputSize, Mode
from tests.support.files import exif, orientation, saved
from tests.support.images import drawn, encoded

QUICK = settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
EXACT = Planner(InputSize(crop_px=32, resize_px=32))
SCALED = Planner(InputSize(crop_px=32, resize_px=32, decode="scaled", decode_factor=2))
LEVELS = 2.0
"""How far pixels may lie apart on average where the decoder scaled an image that is smooth."""


def smooth(height: int, width: int, mode: str = "RGB") -> Image.Image:
    small = Image.fromarray(drawn(6, 7, seed=height + width))
    large = small.resize((width, height), Image.Resampling.BICUBIC)
    return large.convert(mode)


modes = st.sampled_from(["RGB", "L", "CMYK"])
plain_modes: list[Mode] = ["none", "five_crop", "ten_crop", "dense", "adaptive"]


@QUICK
@given(
    st.integers(1, 700), st.integers(1, 700), st.integers(0, 9), modes, st.booleans(),
    st.sampled_from(plain_modes),
)  # fmt: skip
def test_views_have_the_same_shapes_and_nearly_the_same_pixels(
    height: int, width: int, turn: int, mode: str, progressive: bool, tta: Mode
) -> None:
    if max(height, width) > 60 * min(height, width):
        return  # views.MOST_ENLARGED_PX refuses the longest, whatever the decoding
    data = saved(
        smooth(height, width, mode), "JPEG", exif=exif(orientation(turn)), progressive=progressive
    )
    exact, scaled = decode_image(data), decode_image(data, least_size=SCALED.decoding())
    assert size_of(exact) == size_of(scaled)
    passes = EXACT.plan(tta, size_of(exact)).first
    assert passes == SCALED.plan(tta, size_of(scaled)).first
    for one, other in zip(make_views(exact, passes), make_views(scaled, passes), strict=True):
        assert one.pixels.shape == other.pixels.shape
        apart = np.abs(one.pixels.astype(int) - other.pixels.astype(int))
        assert apart.mean() < LEVELS
        if scaled.scale == 1:
            assert not apart.any()


@QUICK
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 9))
def test_exact_views_equal_those_of_an_array(height: int, width: int, turn: int) -> None:
    data = saved(Image.fromarray(drawn(height, width)), "JPEG", exif=exif(orientation(turn)))
    image, pixels = decode_image(data), decode(data)
    assert size_of(image) == size_of(pixels)
    for size in (Size(20, 31), Size(width, height), size_of(image)):
        np.testing.assert_array_equal(resize(image, size), resize(pixels, size))
    box = FractionBox(0, 0, 1, 1, flip=True)
    np.testing.assert_array_equal(resized_crop(image, box, 9), resized_crop(pixels, box, 9))
    np.testing.assert_array_equal(mirrored(image).array(), mirrored(pixels))  # type: ignore[union-attr]


@QUICK
@given(st.integers(40, 900), st.integers(40, 900), st.integers(1, 8), st.integers(0, 8))
def test_the_scale_is_the_largest_that_leaves_enough(
    height: int, width: int, factor: int, turn: int
) -> None:
    sizes = InputSize(crop_px=32, resize_px=32, decode="scaled", decode_factor=factor)
    planner = Planner(sizes)
    data = saved(smooth(height, width), "JPEG", exif=exif(orientation(turn)))
    image = decode_image(data, least_size=planner.decoding())
    least = planner.least_size(image.size)
    left, top, right, bottom = image.whole()
    assert 0 <= left < right <= image.image.width
    assert 0 <= top < bottom <= image.image.height
    if image.scale > 1:
        assert right - left >= least.width
        assert bottom - top >= least.height
    if image.scale < 8:
        doubled = 2 * image.scale
        assert doubled * least.width > image.size.width or (
            doubled * least.height > image.size.height
        )


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_mark_stays_where_it_was_whatever_the_turn(turn: int) -> None:
    """401 is not a multiple of 8: the last pixel of a scaled side covers less than 8 pixels."""
    pixels = np.zeros((401, 603, 3), np.uint8)
    pixels[300:, 500:] = 255
    data = saved(Image.fromarray(pixels), "JPEG", exif=exif(orientation(turn)), subsampling=0)
    least: LeastSize = lambda size: Size(size.height // 8, size.width // 8)  # noqa: E731
    exact, scaled = decode_image(data), decode_image(data, least_size=least)
    assert scaled.scale == 8
    size = Size(size_of(exact).height // 16, size_of(exact).width // 16)
    for image in (exact, exact.mirrored()):
        other = scaled if image is exact else scaled.mirrored()
        one, two = resize(image, size).astype(int), resize(other, size).astype(int)
        assert np.abs(one - two).mean() < 1.5
        assert np.abs(one.mean((0, 2)) - two.mean((0, 2))).max() < 6
        assert np.abs(one.mean((1, 2)) - two.mean((1, 2))).max() < 6


def test_a_small_box_asks_for_more_pixels() -> None:
    data = encoded(drawn(640, 640), "JPEG")
    assert decode_image(data, least_size=SCALED.decoding()).scale == 8
    box = FractionBox(0.5, 0.25, 0.75, 0.5)
    image = decode_image(data, least_size=SCALED.decoding((box,)))
    assert image.scale == 2
    exact = resized_crop(decode(data), box, 32).astype(int)
    assert np.abs(resized_crop(image, box, 32) - exact).mean() < LEVELS
    tiny = FractionBox(0.5, 0.5, 0.51, 0.51)
    assert decode_image(data, least_size=SCALED.decoding((tiny,))).scale == 1


def test_packages_that_do_not_say_decode_every_pixel() -> None:
    assert InputSize(crop_px=32, resize_px=32).decode == "exact"
    assert EXACT.decoding() is None


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_other_formats_are_decoded_in_full(kind: str) -> None:
    image = decode_image(encoded(drawn(300, 300), kind), least_size=SCALED.decoding())
    assert (image.scale, image.image.size) == (1, (300, 300))


def test_limits_are_those_of_the_original() -> None:
    data = encoded(drawn(640, 640), "JPEG")
    with pytest.raises(TooLarge, match="640×640 px"):
        decode_image(data, 400_000, least_size=SCALED.decoding())


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_file_that_is_cut_short_is_refused_as_before(share: float) -> None:
    data = encoded(drawn(640, 640), "JPEG")
    for least in (None, SCALED.decoding()):
        with pytest.raises(BadImage):
            decode_image(data[: int(share * len(data))], least_size=least)


def test_a_file_without_its_end_marker_is_decoded_in_full() -> None:
    data = encoded(drawn(640, 640), "JPEG")
    image = decode_image(data[:-2], least_size=SCALED.decoding())
    assert image.scale == 1
    np.testing.assert_array_equal(image.array(), decode(data))
