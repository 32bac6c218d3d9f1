"""Bitmaps of every kind that programs write, as viewers show them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from service.errors import BadImage, UnsupportedImage
from service.inference.decode import decode
from tests.support.files import bmp, saved
from tests.support.images import drawn

PICTURE = drawn(30, 41, seed=5)
HEIGHT, WIDTH = PICTURE.shape[:2]
SIZE = WIDTH, HEIGHT
BGR = (0xFF0000, 0xFF00, 0xFF)
ALPHA = 0xFF000000
PALETTE = np.random.default_rng(1).integers(0, 256, (256, 3), dtype=np.uint8)
MASKS, MASKS_WITH_ALPHA = 3, 6


def stored(values: NDArray[np.integer], bits: int, *, top_down: bool = False) -> bytes:
    """Rows of pixel values as a bitmap has them: bottom up, each filled up to four bytes."""
    rows = values if top_down else values[::-1]
    width = max(bits // 8, 1)
    raw = rows.astype("<u4").view(np.uint8).reshape(*rows.shape, 4)[..., :width]
    raw = raw.reshape(len(rows), -1)
    if bits < 8:
        single = (rows[..., None] >> np.arange(bits - 1, -1, -1) & 1).astype(np.uint8)
        raw = np.packbits(single.reshape(len(rows), -1), axis=1)
    return np.pad(raw, ((0, 0), (0, -raw.shape[1] % 4))).tobytes()


def packed(
    picture: NDArray[np.uint8], masks: tuple[int, ...], alpha: int = 0
) -> NDArray[np.uint32]:
    """Colours as pixel values whose bits `masks` name; `alpha` as it is."""
    values = np.full(picture.shape[:2], alpha, np.uint32)
    for channel, mask in enumerate(masks[:3]):
        lowest = mask & -mask
        highest = mask // lowest
        level = (picture[..., channel].astype(np.uint64) * highest + 127) // 255
        values |= (level * lowest).astype(np.uint32)
    return values


@pytest.mark.parametrize("header_bytes", [56, 108, 124])
def test_alpha_bytes_that_are_all_0_are_no_alpha(header_bytes: int) -> None:
    rows = stored(packed(PICTURE, BGR), 32)
    data = bmp(rows, SIZE, 32, header_bytes=header_bytes, compression=MASKS, masks=(*BGR, ALPHA))
    np.testing.assert_array_equal(decode(data), PICTURE)


def test_alpha_that_is_used_is_laid_over_white() -> None:
    values = packed(PICTURE, BGR, ALPHA)
    values[:5] &= ~np.uint32(ALPHA)
    values[5] = 0x80000000 | 0xFF0000  # half red
    data = bmp(
        stored(values, 32), SIZE, 32, header_bytes=124, compression=MASKS, masks=(*BGR, ALPHA)
    )
    got = decode(data)
    assert (got[:5] == 255).all()
    assert np.abs(got[5].astype(int) - (255, 127, 127)).max() <= 1
    np.testing.assert_array_equal(got[6:], PICTURE[6:])


def test_the_fourth_byte_without_masks_is_no_alpha() -> None:
    for alpha in (0, ALPHA, 0x7F000000):
        data = bmp(stored(packed(PICTURE, BGR, alpha), 32), SIZE, 32)
        np.testing.assert_array_equal(decode(data), PICTURE)


@pytest.mark.parametrize(
    "masks",
    [
        BGR,
        (0xFF, 0xFF00, 0xFF0000),  # RGBX, which Pillow refuses
        (0xFF000000, 0xFF0000, 0xFF00),
        (0xFF00, 0xFF0000, 0xFF000000),
        (0x3FF00000, 0xFFC00, 0x3FF),  # ten bits each
    ],
)
@pytest.mark.parametrize("header_bytes", [40, 52, 124])
def test_any_masks_of_32_bits(masks: tuple[int, ...], header_bytes: int) -> None:
    rows = stored(packed(PICTURE, masks), 32)
    data = bmp(rows, SIZE, 32, header_bytes=header_bytes, compression=MASKS, masks=masks)
    assert np.abs(decode(data).astype(int) - PICTURE).max() <= 1


@pytest.mark.parametrize(
    ("masks", "alpha"),
    [
        ((0xF800, 0x7E0, 0x1F), 0),
        ((0x7C00, 0x3E0, 0x1F), 0),
        ((0x7C00, 0x3E0, 0x1F), 0x8000),
        ((0xF00, 0xF0, 0xF), 0xF000),
    ],
)
@pytest.mark.parametrize("used", [False, True])
def test_any_masks_of_16_bits(masks: tuple[int, ...], alpha: int, used: bool) -> None:
    values = packed(PICTURE, masks, alpha if used else 0)
    data = bmp(
        stored(values, 16), SIZE, 16, header_bytes=108, compression=MASKS, masks=(*masks, alpha)
    )
    levels = min(mask // (mask & -mask) for mask in masks)
    assert np.abs(decode(data).astype(int) - PICTURE).max() <= 255 / levels / 2 + 1


def test_four_masks_after_the_header() -> None:
    rows = stored(packed(PICTURE, BGR, ALPHA), 32)
    data = bmp(rows, SIZE, 32, compression=MASKS_WITH_ALPHA, masks=(*BGR, ALPHA))
    np.testing.assert_array_equal(decode(data), PICTURE)


def test_sixteen_bits_without_masks_are_five_of_each_colour() -> None:
    data = bmp(stored(packed(PICTURE, (0x7C00, 0x3E0, 0x1F)), 16), SIZE, 16)
    assert np.abs(decode(data).astype(int) - PICTURE).max() <= 5


@pytest.mark.parametrize("header_bytes", [12, 16, 24, 40, 48, 64, 108, 124])
@pytest.mark.parametrize("bits", [1, 4, 8, 24])
def test_headers_of_windows_and_os2(header_bytes: int, bits: int) -> None:
    entry = 3 if header_bytes == 12 else 4
    colours = np.pad(PALETTE[: 2**bits, ::-1], ((0, 0), (0, entry - 3))).tobytes()
    if bits == 24:
        rows, wanted, colours = stored(packed(PICTURE, BGR), 24), PICTURE, b""
    else:
        indexes = PICTURE[..., 0].astype(int) % 2**bits
        rows, wanted = stored(indexes, bits), PALETTE[indexes]
    data = bmp(rows, SIZE, bits, header_bytes=header_bytes, palette=colours)
    np.testing.assert_array_equal(decode(data), wanted)
    # As programs write that leave the place of the pixels out, or forget the palette.
    for place in (0, 14 + header_bytes):
        data = bmp(rows, SIZE, bits, header_bytes=header_bytes, palette=colours, pixels_at=place)
        np.testing.assert_array_equal(decode(data), wanted)


def test_rows_may_come_from_the_top() -> None:
    data = bmp(stored(packed(PICTURE, BGR), 24, top_down=True), (WIDTH, -HEIGHT), 24)
    np.testing.assert_array_equal(decode(data), PICTURE)


def test_the_last_row_may_lack_the_bytes_that_fill_it_up() -> None:
    rows = stored(packed(PICTURE, BGR), 24)
    fill = -3 * WIDTH % 4
    np.testing.assert_array_equal(decode(bmp(rows[:-fill], SIZE, 24)), PICTURE)
    with pytest.raises(BadImage, match="cut short"):
        decode(bmp(rows[: -fill - 1], SIZE, 24))


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32), bits=st.sampled_from([4, 8]), ends=st.booleans())
def test_run_lengths_give_the_pixels(seed: int, bits: int, ends: bool) -> None:
    random = np.random.default_rng(seed)
    width, height = (int(side) for side in random.integers(1, 40, 2))
    indexes = random.integers(0, 2**bits, (height, width), dtype=np.uint8)
    indexes[random.random((height, width)) < 0.6] = random.integers(0, 2**bits)
    data = b""
    for row in indexes[::-1]:
        data += _runs(row, bits, random) + b"\0\0"
    data = data[:-2] + (b"\0\1" if ends else b"")
    palette = np.pad(PALETTE[: 2**bits, ::-1], ((0, 0), (0, 1))).tobytes()
    file = bmp(data, (width, height), bits, compression=1 if bits == 8 else 2, palette=palette)
    np.testing.assert_array_equal(decode(file), PALETTE[indexes])


def _runs(row: NDArray[np.uint8], bits: int, random: np.random.Generator) -> bytes:
    """A row as runs and as pixels that are listed, cut anywhere."""
    out, at = b"", 0
    while at < len(row):
        count = int(random.integers(1, 20))
        part = row[at : at + count].tolist()
        if len(part) >= 3 and random.random() < 0.5:
            listed = bytes(part)
            if bits == 4:
                filled = [*part, 0]
                listed = bytes(filled[n] << 4 | filled[n + 1] for n in range(0, len(part), 2))
            out += bytes([0, len(part)]) + listed + bytes(len(listed) % 2)
        else:
            same = 1
            while same < len(part) and part[same] == part[0]:
                same += 1
            part = part[:same]
            out += bytes([same, part[0] << 4 | part[0] if bits == 4 else part[0]])
        at += len(part)
    return out


def test_run_lengths_may_leave_pixels_out() -> None:
    palette = np.pad(PALETTE[:, ::-1], ((0, 0), (0, 1))).tobytes()
    # Two pixels; then two to the right and one up; one pixel; the end.
    data = bmp(b"\2\5\0\2\2\1\1\7\0\1", (6, 4), 8, compression=1, palette=palette)
    wanted = np.zeros((4, 6), int)
    wanted[3, :2], wanted[2, 4] = 5, 7
    np.testing.assert_array_equal(decode(data), PALETTE[wanted])
    with pytest.raises(BadImage, match="cut short: it ends in row 1 of 4"):
        decode(bmp(b"\2\5", (6, 4), 8, compression=1, palette=palette))


def test_os2_has_run_lengths_of_24_bits() -> None:
    rows = b"\3\1\2\3\0\0\0\3\4\5\6\7\x08\x09\x0a\x0b\x0c\0\0\1"
    got = decode(bmp(rows, (3, 2), 24, header_bytes=64, compression=4))
    assert got[1].tolist() == [[3, 2, 1]] * 3
    assert got[0].tolist() == [[6, 5, 4], [9, 8, 7], [12, 11, 10]]


def test_pillow_and_we_agree_on_what_pillow_writes() -> None:
    picture = Image.fromarray(PICTURE)
    for image in (picture, picture.convert("L"), picture.convert("1"), picture.quantize(30)):
        wanted = np.asarray(image.convert("RGB"))
        np.testing.assert_array_equal(decode(saved(image, "BMP")), wanted)


def test_bitmaps_around_other_formats_are_named() -> None:
    for compression, kind in ((4, "JPEG"), (5, "PNG")):
        with pytest.raises(UnsupportedImage, match=kind):
            decode(bmp(b"\xff\xd8\xff", SIZE, 0, compression=compression))
    for bits in (0, 64):
        with pytest.raises(UnsupportedImage, match=f"{bits} bits per pixel"):
            decode(bmp(bytes(8), (1, 1), bits))


@pytest.mark.parametrize("mask", [0xF0F, 0x0FF0F000])
def test_masks_with_gaps_are_refused(mask: int) -> None:
    masks = (mask, 0xFF0000, 0xF0)
    with pytest.raises(BadImage, match="not a mask"):
        decode(bmp(bytes(4), (1, 1), 32, compression=MASKS, masks=masks))
