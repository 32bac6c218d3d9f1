"""Metadata that makes no pixels never fails an image, and only a sound orientation turns it."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.errors import BadImage
from service.inference.decode import decode
from tests.support.files import (
    ASCII,
    LONG,
    PNG_START,
    SHORT,
    Tags,
    chunk,
    exif,
    orientation,
    png,
    saved,
    tiff,
    with_chunks,
    with_segments,
)
from tests.support.images import drawn, encoded

PICTURE = drawn(24, 35, seed=7)
JPEG, PNG = encoded(PICTURE, "JPEG"), encoded(PICTURE)
PLAIN_JPEG = decode(JPEG)
EXIF, OTHER, PROFILE, PHOTOSHOP, COMMENT, JFIF, ADOBE = 0xE1, 0xE3, 0xE2, 0xED, 0xFE, 0xE0, 0xEE
XMP_NAME = b"http://ns.adobe.com/xap/1.0/\0"
TURN = orientation(6)

BROKEN_EXIF = {
    "empty": b"",
    "no TIFF": b"\0\x08\0\x02\x01\x12\0\x03",
    "one byte": b"I",
    "no directory": b"II*\0",
    "directory outside": b"II*\0\xff\xff\xff\x7f",
    "count of 65535": exif(count=65535),
    "type 0": exif((0x0112, 0, 1, b"\6\0\0\0")),
    "orientation of text": exif((0x0112, ASCII, 2, b"6\0\0\0")),
    "orientation 0": exif(orientation(0)),
    "orientation 9": exif(orientation(9)),
    "orientation 65535": exif(orientation(65535)),
    "orientation of no value": exif((0x0112, SHORT, 0, bytes(4))),
    "orientation outside": exif((0x0112, SHORT, 2**31, b"\xff\xff\xff\xff")),
    "orientation as a fraction": exif((0x0112, 5, 1, b"\x08\0\0\0")),
}
ODD_EXIF = {
    "sound": exif(TURN),
    "big-endian": exif(orientation(6, ">"), order=">"),
    "long": exif((0x0112, LONG, 1, b"\6\0\0\0")),
    "text where a number belongs": exif((0x0100, ASCII, 5, b"\x26\0\0\0"), TURN) + b"wide\0",
    "a value outside before it": exif((0x010F, ASCII, 99, b"\xff\xff\xff\x7f"), TURN),
    "a count of 2^31 before it": exif((0x0110, ASCII, 2**31, bytes(4)), TURN),
    "a type that is unknown before it": exif((0x0111, 77, 9, bytes(4)), TURN),
    "a broken Exif directory": exif(TURN, (0x8769, LONG, 1, b"\xff\xff\xff\xff")),
    "a GPS directory that is text": exif(TURN, (0x8825, ASCII, 4, b"gps\0")),
    "more entries than there are": exif(TURN, count=9000),
    "doubled name": b"Exif\0\0" + exif(TURN),
}


def turned(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """As orientation 6 lies."""
    return np.rot90(picture, -1)


def webp(block: bytes) -> bytes:
    return saved(Image.fromarray(PICTURE), "WEBP", lossless=True, exif=block)


@pytest.mark.parametrize("block", BROKEN_EXIF.values(), ids=BROKEN_EXIF)
def test_broken_exif_turns_and_fails_nothing(block: bytes) -> None:
    jpeg = with_segments(JPEG, (EXIF, b"Exif\0\0" + block))
    np.testing.assert_array_equal(decode(jpeg), PLAIN_JPEG)
    np.testing.assert_array_equal(decode(with_chunks(PNG, chunk(b"eXIf", block))), PICTURE)
    if block:
        np.testing.assert_array_equal(decode(webp(block)), PICTURE)


@pytest.mark.parametrize("block", ODD_EXIF.values(), ids=ODD_EXIF)
def test_a_sound_orientation_counts_whatever_lies_beside_it(block: bytes) -> None:
    jpeg = with_segments(JPEG, (EXIF, b"Exif\0\0" + block))
    np.testing.assert_array_equal(decode(jpeg), turned(PLAIN_JPEG))
    np.testing.assert_array_equal(decode(with_chunks(PNG, chunk(b"eXIf", block))), turned(PICTURE))
    np.testing.assert_array_equal(decode(webp(block)), turned(PICTURE))


@pytest.mark.parametrize(
    "xmp",
    [
        b'<rdf:Description tiff:Orientation="6"/>',
        b"<rdf:Description tiff:Orientation='6'/>",
        b"<tiff:Orientation>6</tiff:Orientation>",
    ],
)
def test_xmp_counts_where_exif_has_no_orientation(xmp: bytes) -> None:
    text = b"XML:com.adobe.xmp\0\0\0\0\0" + xmp
    packed = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp)
    for body in (text, packed):
        got = decode(with_chunks(PNG, chunk(b"iTXt", body)))
        np.testing.assert_array_equal(got, turned(PICTURE))
    jpeg = with_segments(JPEG, (EXIF, XMP_NAME + xmp))
    np.testing.assert_array_equal(decode(jpeg), turned(PLAIN_JPEG))
    np.testing.assert_array_equal(decode(tiff(PICTURE, 2, tags={700: (1, xmp)})), turned(PICTURE))
    upright = (EXIF, b"Exif\0\0" + exif(orientation(1)))
    got = decode(with_segments(JPEG, upright, (EXIF, XMP_NAME + xmp)))
    np.testing.assert_array_equal(got, PLAIN_JPEG)


@pytest.mark.parametrize(
    "segments",
    [
        [(JFIF, b"JFIF\0")],
        [(JFIF, b"JFXX\0\x10junk")],
        [(EXIF, b"http://ns.adobe.com/xap/1.0/\0\xff\xfe<")],
        [(PROFILE, b"ICC_PROFILE\0")],
        [(PROFILE, b"ICC_PROFILE\0\1\2junk"), (PROFILE, b"ICC_PROFILE\0\1\2junk")],
        [(PROFILE, b"MPF\0junk")],
        [(PROFILE, b"MPF\0II*\0\x08\0\0\0\1\0\1\xb0\4\0\1\0\0\0\2\0\0\0")],
        [(PROFILE, b"FPXR\0")],
        [(PHOTOSHOP, b"Photoshop 3.0\x008BIM\4\4")],
        [(PHOTOSHOP, b"Photoshop 3.0\x008BIM\3\xed\0\0\0\0\0\1x")],
        [(ADOBE, b"Adobe")],
        [(OTHER, b""), (COMMENT, b""), (COMMENT, b"\xff\xd8\xff\xda\0\2")],
        [(OTHER, encoded(PICTURE, "JPEG", progressive=True))] * 3,
    ],
)
def test_segments_of_a_jpeg_that_make_no_pixels(segments: list[tuple[int, bytes]]) -> None:
    np.testing.assert_array_equal(decode(with_segments(JPEG, *segments)), PLAIN_JPEG)


@pytest.mark.parametrize(
    "body",
    [
        chunk(b"iCCP", b"profile"),
        chunk(b"iCCP", b"profile\0\7junk"),
        chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(3_000_000))),
        chunk(b"zTXt", b"key\0\7junk"),
        chunk(b"zTXt", b"key\0\0" + zlib.compress(bytes(3_000_000))),
        chunk(b"zTXt", b"key\0\0" + zlib.compress(bytes(900_000))) * 100,
        chunk(b"iTXt", b"key\0\1\0\0\0" + zlib.compress(bytes(3_000_000))),
        chunk(b"tEXt", b"transparency\0none"),
        chunk(b"tEXt", b"bbox\0none"),
        chunk(b"tEXt", b"interlace\x001"),
        chunk(b"gAMA", b"1"),
        chunk(b"cHRM", b"1"),
        chunk(b"sRGB", b""),
        chunk(b"pHYs", b"1"),
        chunk(b"sBIT", b"\1\1\1"),
        chunk(b"tIME", b""),
        chunk(b"acTL", b"\0"),
        chunk(b"fcTL", b"\0"),
        chunk(b"acTL", struct.pack(">II", 3, 0)) + chunk(b"fcTL", struct.pack(">I", 7) + bytes(22)),
        chunk(b"vpAg", b"\0"),
        chunk(b"PLTE", b"12"),
        b"\0\0\0\4tEXta\0bc\0\0\0\0",  # with a wrong checksum
        b"\0\0\0\6tRNS\0\0\0\0\0\0\0\0\0\0",  # as libpng, which drops it
    ],
)
def test_chunks_of_a_png_that_make_no_pixels(body: bytes) -> None:
    np.testing.assert_array_equal(decode(with_chunks(PNG, body)), PICTURE)
    end = PNG.rindex(b"IEND") - 4
    np.testing.assert_array_equal(decode(PNG[:end] + body + PNG[end:]), PICTURE)


def test_chunks_that_make_pixels_must_be_sound() -> None:
    broken = bytearray(PNG)
    broken[30] ^= 1  # in the checksum of the header
    with pytest.raises(BadImage):
        decode(bytes(broken))
    with pytest.raises(BadImage, match="no name"):
        decode(with_chunks(PNG, chunk(b"\0\0\0\0", b"")))


def test_imagemagick_writes_exif_as_text() -> None:
    block = b"Exif\0\0" + exif(TURN)
    text = b"\nexif\n%8d\n%s\n" % (len(block), block.hex().encode())
    plain = chunk(b"tEXt", b"Raw profile type exif\0" + text)
    packed = chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text))
    for body in (plain, packed):
        np.testing.assert_array_equal(decode(with_chunks(PNG, body)), turned(PICTURE))
    junk = chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 4\nzz")
    np.testing.assert_array_equal(decode(with_chunks(PNG, junk)), PICTURE)


@pytest.mark.parametrize(
    "tags",
    [
        {34665: (LONG, [0xFFFFFFF0])},
        {34665: (ASCII, b"text\0"), 34853: (LONG, [3])},
        {282: (ASCII, b"wide\0"), 283: (ASCII, b"high\0"), 296: (ASCII, b"inch\0")},
        {34675: (7, b"no profile"), 33723: (LONG, [1, 2]), 34377: (7, b"8BIM")},
        {700: (1, b"\xff\xfe<")},
        {270: (ASCII, b"\xff\xfe\0"), 306: (SHORT, [1])},
        {274: (ASCII, b"6\0")},
        {274: (SHORT, [0])},
    ],
)
def test_tags_of_a_tiff_that_make_no_pixels(tags: Tags) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(decode(tiff(PICTURE, 2, tags=tags)), PICTURE)
        deflated = tiff(PICTURE, 2, deflate=True, tags=tags)
        np.testing.assert_array_equal(decode(deflated), PICTURE)


@pytest.mark.parametrize("value", range(1, 9))
def test_a_tiff_is_turned_once(value: int) -> None:
    wanted = decode(with_chunks(PNG, chunk(b"eXIf", exif(orientation(value)))))
    for options in ({}, {"deflate": True}, {"tile_px": 16}):
        data = tiff(PICTURE, 2, tags={274: (SHORT, [value])}, **options)  # type: ignore[arg-type]
        np.testing.assert_array_equal(decode(data), wanted)


def test_gif_comments_and_applications() -> None:
    image = Image.fromarray(PICTURE).quantize(16)
    data = saved(image, "GIF")
    start = data.index(b"\x2c\0\0\0\0")
    for extension in (
        b"\x21\xfe\x05hello\0" * 3,
        b"\x21\xff\x0bNETSCAPE2.0\0",
        b"\x21\xff\x03abc\0",
        b"\x21\xf9\0",
        b"\x21\x01\x0c" + bytes(12) + b"\0",
        b"\0\0junk",
    ):
        got = decode(data[:start] + extension + data[start:])
        np.testing.assert_array_equal(got, np.asarray(image.convert("RGB")))


def test_a_jpeg_may_lack_its_end_marker_but_no_pixel() -> None:
    for quality, subsampling in ((30, 2), (75, 0), (95, 1)):
        data = encoded(PICTURE, "JPEG", quality=quality, subsampling=subsampling)
        for cut in (1, 2):
            np.testing.assert_array_equal(decode(data[:-cut]), decode(data))
        for cut in range(3, 60):
            with pytest.raises(BadImage, match="truncated"):
                decode(data[:-cut])


def test_a_progressive_jpeg_cut_between_two_scans_is_refused() -> None:
    data = encoded(PICTURE, "JPEG", progressive=True)
    with pytest.raises(BadImage, match="truncated"):
        decode(data[: data.rindex(b"\xff\xda")])


@pytest.mark.parametrize(("bits", "key"), [(1, 1), (2, 3), (4, 9), (8, 77)])
def test_a_transparent_grey_counts_at_every_depth(bits: int, key: int) -> None:
    rows = (np.arange(16) % 2**bits).astype(np.uint8).reshape(2, 8)
    rows[0, 0] = key
    single = (rows[..., None] >> np.arange(bits - 1, -1, -1) & 1).reshape(2, -1)
    trns = chunk(b"tRNS", struct.pack(">H", key))
    got = decode(png(np.packbits(single, axis=1), 0, bits=bits, before=trns))[..., 0]
    wanted = rows.astype(int) * 255 // (2**bits - 1)
    wanted[rows == key] = 255
    np.testing.assert_array_equal(got, wanted)


def test_a_transparent_colour_of_16_bits_is_told_from_its_neighbours() -> None:
    grey = np.array([[0x1234, 0x1235, 0x3412]], np.uint16)
    trns = chunk(b"tRNS", b"\x12\x34")
    assert decode(png(grey, 0, before=trns))[0, :, 0].tolist() == [255, 0x12, 0x33]
    colours = np.array([[[0x1234] * 3, [0x1234, 0x1234, 0x1235], [0x3412] * 3]], np.uint16)
    got = decode(png(colours.reshape(1, 9), 2, before=chunk(b"tRNS", b"\x12\x34" * 3)))
    assert got[0].tolist() == [[255] * 3, [0x12] * 3, [0x34] * 3]


@pytest.mark.parametrize("length", [0, 3, 300])
def test_a_palette_with_too_much_or_no_alpha_is_opaque(length: int) -> None:
    palette = chunk(b"PLTE", bytes([9, 8, 7, 6, 5, 4]))
    rows = np.array([[0, 1]], np.uint8)
    data = png(rows, 3, before=palette + chunk(b"tRNS", bytes(length)))
    assert decode(data)[0].tolist() == [[9, 8, 7], [6, 5, 4]]


def test_an_animated_png_is_its_default_image() -> None:
    frames = [Image.new("RGB", (9, 8), colour) for colour in ("red", "lime", "blue")]
    buffer = io.BytesIO()
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:])
    assert b"acTL" in buffer.getvalue()
    assert buffer.getvalue().startswith(PNG_START)
    assert (decode(buffer.getvalue()) == (255, 0, 0)).all()
