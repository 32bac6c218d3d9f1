"""Formats that are decoded and those that are refused by name; limits on what a file may cost."""

import struct

import numpy as np
import pytest
from PIL import Image, features

from service.errors import BadImage, TooLarge, UnsupportedImage
from service.inference.decode import FORMATS, decode
from tests.support.files import PNG_START, bmp, chunk, saved, tiff
from tests.support.images import drawn, encoded

PICTURE = drawn(40, 60, seed=1)
with_avif = pytest.mark.skipif(not features.check("avif"), reason="Pillow without AVIF")


def box(kind: bytes, *brands: bytes) -> bytes:
    """The start of an ISO media file."""
    return struct.pack(">I", 16 + 4 * len(brands)) + b"ftyp" + kind + bytes(4) + b"".join(brands)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (box(b"heic", b"mif1", b"heic"), "HEIC"),
        (box(b"mif1", b"mif1", b"heic", b"hevc"), "HEIC"),
        (box(b"heix"), "HEIC"),
        (box(b"msf1", b"hevc"), "HEIC"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\xff\x0a\xfa\x1f", "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\xff\x4f\xff\x51\0\x2f", "JPEG 2000"),
        (b"8BPS\0\1", "PSD"),
        (b"%PDF-1.7\n", "PDF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'>", "SVG"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- a --><!DOCTYPE svg>\n<svg:svg>", "SVG"),
        (b"<!DOCTYPE html><html>", "an HTML page"),
        (b"\n<HTML lang='de'>", "an HTML page"),
        (box(b"crx ", b"isom"), r"camera raw \(CR3\)"),
        (b"II*\0\x10\0\0\0CR\2\0", r"camera raw \(CR2\)"),
        (b"FUJIFILMCCD-RAW 0201", r"camera raw \(RAF\)"),
        (b"IIRO\x08\0\0\0", r"camera raw \(ORF\)"),
        (b"IIU\0\x18\0\0\0", r"camera raw \(RW2\)"),
        (b"II\xbc\1", "JPEG XR"),
        (b"v/1\1", "OpenEXR"),
        (box(b"isom", b"isom", b"mp41"), "a video"),
        (box(b"qt  "), "a video"),
        (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
        (b"PK\3\4", "a ZIP archive"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"\0\5\x16\7\0\2\0\0Mac OS X", "an AppleDouble file"),
        (encoded(PICTURE, "PPM"), "PPM"),
        (encoded(PICTURE, "ICO"), "ICO"),
        (encoded(PICTURE, "TGA"), "TGA"),
        (b"/* XPM */\nstatic char * a[] = {\n" + b'"1 1 1 1",\n"a c #000000",\n"a"};\n', "XPM"),
    ],
)
def test_other_formats_are_named(data: bytes, name: str) -> None:
    accepted = ", ".join(FORMATS)
    with pytest.raises(
        UnsupportedImage, match=f"the file is {name}.*; accepted formats: {accepted}"
    ):
        decode(data.ljust(400, b"\0"))


def test_a_long_header_of_xml_takes_no_time() -> None:
    with pytest.raises(BadImage, match="no image"):
        decode(b"<??>" * 1000 + b"<??" * 30)


@with_avif
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4"])
def test_avif_is_decoded(mode: str, subsampling: str) -> None:
    image = Image.fromarray(PICTURE).resize((200, 120)).convert(mode)
    data = saved(image, "AVIF", quality=95, subsampling=subsampling)
    wanted = np.asarray(image.convert("RGB")).astype(int)
    got = decode(data)
    assert got.shape == (120, 200, 3)
    assert np.abs(got - wanted).mean() < 12


@with_avif
def test_transparent_avif_is_laid_over_white() -> None:
    data = saved(Image.new("RGBA", (32, 32), (255, 0, 0, 0)), "AVIF", quality=100)
    assert (decode(data) == 255).all()


@with_avif
@pytest.mark.parametrize("value", range(1, 9))
def test_avif_is_turned_by_its_own_properties(value: int) -> None:
    plain = saved(Image.fromarray(PICTURE), "AVIF", quality=90)
    exif = Image.Exif()
    exif[0x0112] = value
    block = exif.tobytes()
    turned = saved(Image.fromarray(PICTURE), "AVIF", quality=90, exif=block)
    wanted = decode(encoded(decode(plain), "PNG", exif=block))
    np.testing.assert_array_equal(decode(turned), wanted)


@with_avif
def test_broken_exif_in_an_avif_is_passed_over() -> None:
    exif = Image.Exif()
    exif[0x010F] = "maker"
    data = saved(Image.fromarray(PICTURE), "AVIF", exif=exif, xmp=b"<x>", icc_profile=b"no")
    at = data.rindex(b"Exif\0\0") + 6
    broken = data[:at] + b"JUNK" + data[at + 4 :]
    np.testing.assert_array_equal(decode(broken), decode(data))


@with_avif
def test_an_animated_avif_is_its_still_picture() -> None:
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("red", "lime")]
    data = saved(frames[0], "AVIF", save_all=True, append_images=frames[1:], duration=100)
    assert data[8:12] == b"avis"
    assert np.abs(decode(data).astype(int) - (255, 0, 0)).max() < 8


@with_avif
def test_an_avif_whose_data_is_larger_than_it_says_is_refused() -> None:
    data = bytearray(saved(Image.new("RGB", (1024, 1024)), "AVIF"))
    at = data.index(b"ispe") + 8
    data[at : at + 8] = struct.pack(">II", 64, 64)
    assert decode(bytes(data)).shape == (64, 64, 3)
    with pytest.raises(TooLarge, match="AV1 data of 1 MP; the limit is 1 MP"):
        decode(bytes(data), max_pixels=250_000)


@with_avif
def test_an_avif_cut_short_or_mixed_up_is_refused() -> None:
    data = saved(Image.fromarray(PICTURE), "AVIF")
    for broken in (data[:200], data[:-1], data.replace(b"iloc", b"free"), data[:32]):
        with pytest.raises(BadImage):
            decode(broken)


@pytest.mark.parametrize(
    "data",
    [
        # Only the header says so: nothing of that size may be allocated first.
        b"RIFF\x64\0\0\0WEBPVP8X\x0a\0\0\0\x10\0\0\0" + b"\xff\xff\xff" * 2 + bytes(60),
        b"RIFF\x64\0\0\0WEBPVP8L\x20\0\0\0\x2f" + b"\xff" * 7 + bytes(60),
        b"RIFF\x64\0\0\0WEBPVP8 \x20\0\0\0\0\0\0\x9d\x01\x2a\xff\x3f\xff\x3f" + bytes(60),
        bmp(b"", (40_000, 40_000), 8, compression=1),
        bmp(b"", (2**31 - 1, -(2**31)), 1),
        b"GIF89a\xff\xff\xff\xff\0\0\0\x2c\0\0\0\0\xff\xff\xff\xff\0\2",
        tiff(np.zeros((2, 2), np.uint8), tags={256: (4, [50_000]), 257: (4, [50_000])}),
        tiff(np.zeros((2, 2), np.float32), tags={256: (4, [50_000]), 257: (4, [50_000])}),
        PNG_START + chunk(b"IHDR", struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 1, 0, 0, 0, 0)),
    ],
)
def test_sizes_are_checked_before_anything_is_allocated(data: bytes) -> None:
    with pytest.raises((TooLarge, BadImage)) as raised:
        decode(data)
    if isinstance(raised.value, BadImage):
        assert data.startswith(PNG_START)  # which has no pixels at all


def test_a_jpeg_of_12_bits_is_named() -> None:
    data = bytearray(encoded(PICTURE, "JPEG"))
    data[data.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(UnsupportedImage, match="JPEG of 12 bits per sample"):
        decode(bytes(data))


def test_apples_png_is_named() -> None:
    data = encoded(PICTURE)
    with pytest.raises(UnsupportedImage, match="CgBI"):
        decode(PNG_START + chunk(b"CgBI", bytes(4)) + data[8:])


def test_a_tiff_of_jpegs_may_have_no_more_scans_than_a_jpeg() -> None:
    data = saved(Image.fromarray(PICTURE), "TIFF", compression="jpeg")
    assert decode(data).shape == PICTURE.shape
    scans = np.frombuffer(b"\xff\xda" * 2000, np.uint8)
    bomb = tiff(scans[None, :, None], 1, tags={256: (4, [1000]), 257: (4, [1000]), 259: (3, [7])})
    with pytest.raises(TooLarge, match=r"2000 scans of 1000×1000 px"):
        decode(bomb)


def test_other_buffers_of_bytes_are_decoded() -> None:
    data = encoded(PICTURE)
    for buffer in (bytearray(data), memoryview(data)):
        np.testing.assert_array_equal(decode(buffer), PICTURE)  # type: ignore[arg-type]


def test_pillows_own_limit_on_pixels_does_not_apply() -> None:
    assert Image.MAX_IMAGE_PIXELS is None
