"""Every kind of image that a person may send, and everything that is none."""

import struct
import time
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from service.errors import BadImage, ClientError, TooLarge, UnsupportedImage
from service.inference.decode import decode
from service.inference.image.clock import Clock
from service.inference.image.formats.jpeg import count_scans
from service.inference.image.orientation import UPRIGHT
from service.inference.image.rows import Loaded, upright_rgb
from tests.support.files import chunk, saved
from tests.support.images import drawn, encoded

PICTURE = drawn(40, 60, seed=1)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_give_the_very_pixels(kind: str) -> None:
    got = decode(encoded(PICTURE, kind))
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, PICTURE)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_formats_give_about_the_pixels(kind: str) -> None:
    got = decode(encoded(PICTURE, kind, quality=95)).astype(int)
    assert got.shape == PICTURE.shape
    assert np.abs(got - PICTURE).mean() < 12


def test_a_gif_is_its_first_frame() -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "lime", "blue")]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (decode(data) == (255, 0, 0)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    turned = {
        1: PICTURE,
        2: PICTURE[:, ::-1],
        3: PICTURE[::-1, ::-1],
        4: PICTURE[::-1],
        5: PICTURE.transpose(1, 0, 2),
        6: np.rot90(PICTURE, -1),
        7: PICTURE[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(PICTURE, 1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(decode(encoded(PICTURE, "PNG", exif=exif)), turned)


def test_grey_and_palette_and_cmyk_become_rgb() -> None:
    grey = Image.fromarray(PICTURE).convert("L")
    got = decode(saved(grey, "PNG"))
    np.testing.assert_array_equal(got, np.asarray(grey)[..., None].repeat(3, 2))
    palette = Image.fromarray(PICTURE).quantize(16)
    np.testing.assert_array_equal(decode(saved(palette, "PNG")), np.asarray(palette.convert("RGB")))
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    assert (np.abs(decode(saved(cmyk, "TIFF")).astype(int) - (255, 0, 0)) < 3).all()


def test_sixteen_bits_become_eight_by_the_upper_byte() -> None:
    ramp = np.linspace(0, 65535, 600).reshape(20, 30).astype(np.uint16)
    got = decode(saved(Image.fromarray(ramp), "PNG"))[..., 0].astype(int)
    assert np.abs(got - (ramp >> 8)).max() <= 1


def test_a_dark_sixteen_bit_image_stays_dark() -> None:
    dark = np.full((8, 8), 2570, np.uint16)
    assert decode(saved(Image.fromarray(dark), "PNG")).max() <= 11


def test_transparency_is_laid_over_white() -> None:
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert (decode(saved(clear, "PNG")) == 255).all()
    half = Image.new("RGBA", (8, 8), (255, 0, 0, 128))
    assert (np.abs(decode(saved(half, "PNG")).astype(int) - (255, 127, 127)) <= 1).all()


def test_a_bomb_is_refused_by_its_header_alone() -> None:
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99))
    with pytest.raises(TooLarge, match=r"100000×100000 px .* 50 MP \(QUINCUNX_MAX_PIXELS\)"):
        decode(bomb)


def scans_of(data: bytes, times: int) -> bytes:
    """A progressive JPEG with its last scan, a refinement of a few bytes, repeated."""
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * times + data[-2:]


def test_a_jpeg_of_many_scans_is_refused_before_it_is_decoded() -> None:
    plain = saved(Image.new("L", (1000, 1000), 99), "JPEG", progressive=True)
    assert decode(scans_of(plain, 5)).shape == (1000, 1000, 3)
    bomb = scans_of(plain, 2000)
    assert len(bomb) < 100_000
    with pytest.raises(TooLarge, match=r"scans of 1000×1000 px, 2006 MP .* 1000 MP \(20 × QUIN"):
        decode(bomb)
    assert decode(scans_of(plain, 20), max_pixels=2_000_000).shape == (1000, 1000, 3)


def test_scans_are_counted_as_libjpeg_counts_them() -> None:
    clock = Clock(limit_ms=10_000)
    progressive = saved(Image.fromarray(PICTURE), "JPEG", progressive=True)
    assert count_scans(encoded(PICTURE, "JPEG"), clock) == 1
    assert count_scans(progressive, clock) == 10
    # A thumbnail in an application segment has scans of its own, which nobody decodes.
    segment = b"\xff\xe1" + struct.pack(">H", len(progressive) + 2) + progressive
    assert count_scans(progressive[:2] + segment + progressive[2:], clock) == 10


def test_conversion_ends_when_the_time_is_up() -> None:
    with pytest.raises(TooLarge, match="QUINCUNX_MAX_DECODE_MS"):
        upright_rgb(Loaded(Image.new("CMYK", (20, 30))), UPRIGHT, Clock(limit_ms=-1))


def test_decoding_ends_when_its_time_is_up() -> None:
    # A text chunk of nothing, half a million times: small in pixels, long to read.
    empty = struct.pack(">I", 0) + b"tEXt" + struct.pack(">I", zlib.crc32(b"tEXt"))
    png = encoded(PICTURE)
    end_of_header = 33
    slow = png[:end_of_header] + empty * 500_000 + png[end_of_header:]
    before_s = time.thread_time()
    with pytest.raises(TooLarge, match=r"the limit is 50 ms \(QUINCUNX_MAX_DECODE_MS\)"):
        decode(slow, max_decode_ms=50)
    assert time.thread_time() - before_s < 1


def test_a_tiff_with_a_huge_tile_is_refused_before_it_is_unpacked() -> None:
    def tiff(tile_px: int) -> bytes:
        data = zlib.compress(bytes(64 * 64))
        tags = [
            *((256, 64), (257, 64), (258, 8), (259, 8), (262, 1), (277, 1)),
            *((322, tile_px), (323, tile_px), (324, 134), (325, len(data))),
        ]
        entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
        return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data

    assert decode(tiff(64)).shape == (64, 64, 3)
    with pytest.raises(TooLarge, match="tiles of 32768×32768 px; the limit is 50 MP"):
        decode(tiff(32768))


def test_the_limit_is_the_callers() -> None:
    with pytest.raises(TooLarge):
        decode(encoded(PICTURE), max_pixels=2399)
    assert decode(encoded(PICTURE), max_pixels=2400).shape == (40, 60, 3)


def test_other_formats_and_no_images_are_told_apart() -> None:
    with pytest.raises(UnsupportedImage, match="PPM"):
        decode(encoded(PICTURE, "PPM"))
    with pytest.raises(BadImage, match="no image"):
        decode(b"hello")
    with pytest.raises(BadImage, match="empty"):
        decode(b"")
    with pytest.raises(BadImage):
        decode(encoded(PICTURE, "JPEG")[:300])


@settings(max_examples=150)
@given(
    kind=st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"]),
    at=st.floats(0, 1),
    junk=st.binary(max_size=24),
    keep=st.floats(0, 1),
)
def test_damaged_files_give_pixels_or_a_client_error(
    kind: str, at: float, junk: bytes, keep: float
) -> None:
    data = bytearray(encoded(PICTURE, kind))
    start = int(at * len(data))
    data[start : start + len(junk)] = junk
    try:
        got = decode(bytes(data[: max(1, int(keep * len(data)))]))
    except ClientError:
        return
    assert got.dtype == np.uint8
    assert got.shape[2] == 3
