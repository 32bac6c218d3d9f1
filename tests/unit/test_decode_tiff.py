"""What TIFF samples mean is read from the tags, or the file is refused; it is never guessed."""

import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.errors import BadImage, TooLarge, UnsupportedImage
from service.inference.decode import decode
from tests.support.files import ASCII, DOUBLE, FLOAT, LONG, SHORT, Order, saved, tiff
from tests.support.images import drawn

GREY = np.ascontiguousarray(drawn(48, 70, seed=3)[..., 0])
COLOURS = drawn(48, 70, seed=4)
SMIN, SMAX, NODATA = 340, 341, 42113


def levels(data: bytes) -> NDArray[np.int_]:
    """The grey levels of a grey file: int[H, W]."""
    got = decode(data).astype(int)
    assert (got == got[..., :1]).all()
    return got[..., 0]


def close(got: NDArray[Any], wanted: NDArray[Any]) -> bool:
    return got.shape == wanted.shape and bool(np.abs(got.astype(int) - wanted).max() <= 1)


@pytest.mark.parametrize("kind", ["f2", "f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_floats_of_0_to_1_are_black_to_white(kind: str, order: Order) -> None:
    assert close(levels(tiff((GREY / 255).astype(kind), order=order)), GREY)
    assert close(decode(tiff((COLOURS / 255).astype(kind), 2, order=order)), COLOURS)


def test_floats_of_32_bits_give_the_levels_that_pillow_reads() -> None:
    values = np.random.default_rng(0).random((30, 40), dtype=np.float32)
    wanted = (values.astype(np.float64) * 255).astype(np.uint8)
    for options in ({}, {"compression": "tiff_lzw"}, {"compression": "tiff_adobe_deflate"}):
        data = saved(Image.fromarray(values), "TIFF", **options)
        np.testing.assert_array_equal(levels(data), wanted)


@pytest.mark.parametrize("outlier", [np.inf, -np.inf, np.nan])
def test_a_value_that_is_no_number_changes_no_other_pixel(outlier: float) -> None:
    values = (GREY / 255).astype(np.float32)
    values[0, 0] = outlier
    got = levels(tiff(values))
    assert close(got[1:], GREY[1:])
    assert got[0, 0] == (0 if outlier == -np.inf else 255)  # no data is white, as transparency is


@pytest.mark.parametrize("outlier", [-3.4e38, -9999, 255, 1.1, -0.1])
def test_floats_beyond_0_to_1_are_refused_without_a_tag(outlier: float) -> None:
    values = (GREY / 255).astype(np.float32)
    values[3, 5] = outlier
    with pytest.raises(BadImage, match=r"32-bit floats from .* SMinSampleValue and SMax"):
        decode(tiff(values))


def test_floats_that_a_resize_left_a_hair_outside_are_decoded() -> None:
    values = (GREY / 255).astype(np.float32)
    values[0, 0], values[0, 1] = 1.0001, -0.0001
    assert levels(tiff(values))[0, :2].tolist() == [255, 0]


@pytest.mark.parametrize("nodata", [-3.4028234663852886e38, -9999.0, -32768.0])
def test_values_that_gdal_calls_no_data_are_white(nodata: float) -> None:
    values = (GREY / 255).astype(np.float32)
    values[:4] = nodata
    got = levels(tiff(values, tags={NODATA: (ASCII, f"{nodata!r}\0".encode())}))
    assert (got[:4] == 255).all()
    assert close(got[4:], GREY[4:])


@pytest.mark.parametrize("fill", [np.nan, -9999.0])
@pytest.mark.parametrize("tagged", [False, True])
def test_an_image_without_any_data_is_refused(fill: float, tagged: bool) -> None:
    tags: dict[int, Any] = {NODATA: (ASCII, b"-9999\0")}
    if tagged:
        tags |= {SMIN: (FLOAT, [0.0]), SMAX: (FLOAT, [255.0])}
    values = np.full(GREY.shape, fill, np.float32)
    with pytest.raises(BadImage, match="the TIFF holds no data"):
        decode(tiff(values, tags=tags))
    values[-1, -1] = 0.5
    assert levels(tiff(values, tags=tags))[0, 0] == 255


@pytest.mark.parametrize("kind", ["u4", "u8", "i1", "i2", "i4", "i8"])
def test_integers_without_a_natural_range_need_a_tag(kind: str) -> None:
    values = (GREY // 2).astype(kind)
    with pytest.raises(BadImage, match=r"-bit integers and does not say which are black and white"):
        decode(tiff(values))
    for low, high in ((SMIN, SMAX), (280, 281)):
        tags = {low: (DOUBLE, [0.0]), high: (DOUBLE, [127.0])}
        assert np.abs(levels(tiff(values, tags=tags)) - GREY).max() <= 2


def test_the_range_of_the_tags_wins_over_the_values() -> None:
    values = np.linspace(-10, 50, 48 * 70, dtype=np.float32).reshape(48, 70)
    got = levels(tiff(values, tags={SMIN: (FLOAT, [0.0]), SMAX: (FLOAT, [40.0])}))
    wanted = (values.astype(float) / 40 * 255).clip(0, 255).astype(int)
    assert close(got, wanted)


def test_imagej_writes_the_range_into_the_description() -> None:
    text = b"ImageJ=1.53t\nimages=1\nmin=-7.0\nmax=758.0\n\0"
    assert close(levels(tiff(GREY.astype("f4") * 3 - 7, tags={270: (ASCII, text)})), GREY)


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 0.0), (5.0, 1.0), (float("nan"), 1.0), (-3.4e38, 3.4e38)]
)
def test_tags_that_are_no_range_count_as_none(low: float, high: float) -> None:
    tags = {SMIN: (FLOAT, [low]), SMAX: (FLOAT, [high])}
    assert close(levels(tiff((GREY / 255).astype("f4"), tags=tags)), GREY)
    with pytest.raises(BadImage):
        decode(tiff(GREY.astype("f4"), tags=tags))


def test_statistics_do_not_change_an_image_of_8_or_16_bits() -> None:
    tags = {280: (SHORT, [10]), 281: (SHORT, [50]), SMIN: (SHORT, [10]), SMAX: (SHORT, [50])}
    np.testing.assert_array_equal(levels(tiff(GREY, tags=tags)), GREY)
    np.testing.assert_array_equal(levels(tiff(GREY.astype("u2") * 257, tags=tags)), GREY)


@pytest.mark.parametrize(("kind", "top"), [("u1", 255), ("u2", 65535), ("f4", 1), ("f8", 1)])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deflate", [False, True])
def test_white_may_be_zero(kind: str, top: int, order: Order, deflate: bool) -> None:
    values = (top - GREY.astype(float) * (top / 255)).astype(kind)
    assert close(levels(tiff(values, 0, order=order, deflate=deflate)), GREY)


def test_a_file_that_does_not_say_whether_0_is_white_is_read_as_libtiff_reads_it() -> None:
    np.testing.assert_array_equal(levels(tiff(GREY, None)), GREY)
    np.testing.assert_array_equal(decode(tiff(COLOURS, None)), COLOURS)


@pytest.mark.parametrize(
    ("kind", "order", "planar", "tile_px", "strip_rows", "deflate"),
    [
        (*one, tile, strip, deflate)
        for one in itertools.product(["u2", "f4"], "<>", [False, True])
        for tile, strip in ((0, 0), (0, 7), (32, 0))
        for deflate in (False, True)
    ],
)
def test_samples_are_found_however_they_are_stored(
    kind: str, order: Order, planar: bool, tile_px: int, strip_rows: int, deflate: bool
) -> None:
    values = COLOURS.astype("u2") * 257 if kind == "u2" else (COLOURS / 255).astype(kind)
    data = tiff(
        values, 2, order=order, planar=planar, tile_px=tile_px, strip_rows=strip_rows,
        deflate=deflate,
    )  # fmt: skip
    assert close(decode(data), COLOURS)


@pytest.mark.parametrize("kind", [1, 2])
def test_alpha_of_16_bits_is_laid_over_white(kind: int) -> None:
    half = np.full((4, 5), 32768, np.uint16)
    grey = np.zeros_like(half)
    got = levels(tiff(np.dstack([grey, half]), extra=[kind]))
    assert np.abs(got - 127).max() <= 1
    red = np.dstack([np.full_like(half, 65535 if kind == 2 else 32768), grey, grey, half])
    assert np.abs(decode(tiff(red, 2, extra=[kind])).astype(int) - (255, 127, 127)).max() <= 1


@pytest.mark.parametrize(("kind", "top"), [("u1", 255), ("u2", 65535)])
def test_a_fourth_sample_that_is_always_0_and_unnamed_is_no_alpha(kind: str, top: int) -> None:
    colours = COLOURS.astype(kind) * (top // 255)
    unused = np.zeros((*COLOURS.shape[:2], 1), kind)
    np.testing.assert_array_equal(decode(tiff(np.dstack([colours, unused]), 2)), COLOURS)
    assert (decode(tiff(np.dstack([colours, unused]), 2, extra=[2])) == 255).all()
    used = unused.copy()
    used[5] = top
    got = decode(tiff(np.dstack([colours, used]), 2))
    np.testing.assert_array_equal(got[5], COLOURS[5])
    assert (got[:5] == 255).all()


def test_float_alpha_is_laid_over_white() -> None:
    black, half = np.zeros((4, 5)), np.full((4, 5), 0.5)
    assert np.abs(levels(tiff(np.dstack([black, half]), extra=[2])) - 127).max() <= 1
    assert np.abs(levels(tiff(np.dstack([half / 2, half]), extra=[1])) - 191).max() <= 1


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_widths_that_cameras_use_are_unpacked(bits: int) -> None:
    values = np.arange(16 * 8).reshape(8, 16) * (2**bits - 1) // 127
    packed = np.packbits(
        (values[..., None] >> np.arange(bits - 1, -1, -1) & 1).astype(np.uint8).reshape(8, -1),
        axis=1,
    )
    data = tiff(packed, bits=bits, tags={256: (LONG, [16])})
    assert close(levels(data), values * 255 // (2**bits - 1))


@pytest.mark.parametrize(
    ("values", "photometric", "extra"),
    [
        (np.zeros((4, 5, 5), np.uint16), 1, [0, 0, 0, 0]),  # bands of a satellite
        (np.zeros((4, 5, 3), np.uint16), 1, [0, 0]),
        (np.zeros((4, 5, 4), np.float32), 5, []),
        (np.zeros((4, 5, 3), np.uint8), 32845, []),  # LogLuv
    ],
)
def test_layouts_that_are_not_known_are_named(
    values: NDArray[Any], photometric: int, extra: list[int]
) -> None:
    with pytest.raises(UnsupportedImage, match=rf"PhotometricInterpretation {photometric}"):
        decode(tiff(values, photometric, extra=extra))


@pytest.mark.parametrize(
    "tags",
    [
        {50706: (1, b"\1\4\0\0")},  # DNGVersion
        {254: (LONG, [1]), 330: (LONG, [8])},  # NEF: a preview, and the picture in a SubIFD
        {262: (SHORT, [32803])},  # a colour filter array
    ],
)
def test_camera_raw_is_named_not_answered_by_its_preview(tags: dict[int, Any]) -> None:
    with pytest.raises(UnsupportedImage, match="camera raw"):
        decode(tiff(COLOURS, 2, tags=tags))


def test_a_file_that_ends_within_its_pixels_is_refused() -> None:
    for data in (
        tiff(COLOURS, 2),
        tiff((COLOURS / 255).astype("f4"), 2, strip_rows=5),
        tiff(COLOURS.astype("u2"), 2, planar=True),
    ):
        assert decode(data).shape == (48, 70, 3)
        with pytest.raises(BadImage):
            decode(data[:-9])


def test_samples_that_would_fill_the_memory_are_refused() -> None:
    data = tiff(np.zeros((40, 40, 3)), 2, deflate=True)
    assert decode(data).shape == (40, 40, 3)
    with pytest.raises(TooLarge, match=r"MB of samples; the limit is .* × QUINCUNX_MAX_PIXELS"):
        decode(data, max_pixels=1600)
