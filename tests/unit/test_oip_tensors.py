"""The input tensor: pixels and files come back, and every shape that does not fit is named."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.oip.tensors import Input, Limits
from service.errors import TooLarge, UsageError

LIMITS = Limits(max_images=4, max_pixels=1000)


def pixels(shape: tuple[int, ...], raw: bytes) -> Input:
    return Input("images", shape, memoryview(raw))


def files(*data: bytes, count: int | None = None, more: bytes = b"") -> Input:
    packed = b"".join(struct.pack("<I", len(one)) + one for one in data)
    shape = (len(data) if count is None else count,)
    return Input("encoded", shape, memoryview(packed + more))


@given(st.integers(1, 4), st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_pixels_come_back_in_their_order(count: int, height: int, width: int, seed: int) -> None:
    sent = np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)
    images = pixels(sent.shape, sent.tobytes()).images(LIMITS)
    assert len(images) == count
    np.testing.assert_array_equal(images, sent)


@given(st.lists(st.binary(max_size=100), min_size=1, max_size=4))
def test_files_come_back_whatever_they_hold(data: list[bytes]) -> None:
    assert files(*data).images(LIMITS) == data


def test_a_column_of_files_is_a_list_of_files() -> None:
    column = files(b"a", b"b")
    assert Input("encoded", (2, 1), column.raw).images(LIMITS) == [b"a", b"b"]


@pytest.mark.parametrize("shape", [(), (0,), (0, 2, 2, 3), (-1, 2, 2, 3)])
@pytest.mark.parametrize("name", ["images", "encoded"])
def test_a_tensor_without_images_is_refused(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=f"{name} must hold at least one image"):
        Input(name, shape, memoryview(b"")).images(LIMITS)


@pytest.mark.parametrize("name", ["images", "encoded"])
def test_images_are_counted_by_the_shape_alone(name: str) -> None:
    with pytest.raises(TooLarge, match=r"5 images; the limit is 4 \(QUINCUNX_MAX_IMAGES\)"):
        Input(name, (5, 1, 1, 3), memoryview(b"")).images(LIMITS)


@pytest.mark.parametrize(
    "shape", [(1,), (1, 3), (1, 2, 2), (1, 2, 2, 4), (1, 0, 2, 3), (1, 1, 2, 2, 3)]
)
def test_pixels_have_four_axes_and_three_channels(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"images must have shape \[N, H, W, 3\]"):
        pixels(shape, bytes(abs(int(np.prod(shape))))).images(LIMITS)


@pytest.mark.parametrize("shape", [(1, 1001, 1, 3), (1, 10**9, 10**9, 3)])
def test_pixels_are_limited_by_the_shape_alone(shape: tuple[int, ...]) -> None:
    with pytest.raises(TooLarge, match=r"limit is 0 MP \(QUINCUNX_MAX_PIXELS\)"):
        pixels(shape, b"").images(LIMITS)


@pytest.mark.parametrize("size", [0, 11, 13, 24])
def test_pixels_fill_their_shape(size: int) -> None:
    with pytest.raises(UsageError, match=f"images has {size} bytes; its shape needs 12"):
        pixels((1, 2, 2, 3), bytes(size)).images(LIMITS)


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=4), st.data())
def test_files_that_are_cut_short_are_named(data: list[bytes], drawn: st.DataObject) -> None:
    raw = files(*data).raw
    assert raw is not None
    cut = raw[: drawn.draw(st.integers(0, len(raw) - 1))]
    with pytest.raises(UsageError, match="encoded is cut short"):
        Input("encoded", (len(data),), cut).images(LIMITS)


def test_bytes_after_the_last_file_are_named() -> None:
    with pytest.raises(UsageError, match="encoded has 3 bytes after the last of its 2 files"):
        files(b"a", b"b", more=b"abc").images(LIMITS)


def test_a_length_cannot_reach_beyond_the_tensor() -> None:
    raw = memoryview(struct.pack("<I", 2**32 - 1) + b"abc")
    with pytest.raises(UsageError, match="file 0 has 4294967295 bytes, but 3 follow"):
        Input("encoded", (1,), raw).images(LIMITS)


def test_files_are_never_json() -> None:
    with pytest.raises(UsageError, match="JSON cannot hold image files"):
        Input("encoded", (1,), None, ["abc"]).images(LIMITS)


@pytest.mark.parametrize("data", [None, "abc", {"a": 1}, [], [[]]])
def test_data_that_holds_no_numbers_is_named(data: object) -> None:
    with pytest.raises(UsageError, match="the data of images must be an array of numbers"):
        Input("images", (1, 1, 1, 3), None, data).images(LIMITS)


@pytest.mark.parametrize("data", [[1, "a"], [[[True]]], [[1], [None, 2]]])
def test_an_element_that_is_no_number_is_named(data: object) -> None:
    with pytest.raises(UsageError, match="images: element"):
        Input("images", (1, 1, 1, 3), None, data).images(LIMITS)
