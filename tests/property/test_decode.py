"""Whatever the format, the mode and the metadata: the same pixels, upright, or a client error."""

import zlib
from collections.abc import Callable
from contextlib import suppress

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, features

from service.errors import ClientError
from service.inference.decode import decode
from service.inference.image import rows
from tests.support.files import chunk, exif, orientation, saved, tiff, with_chunks, with_segments
from tests.support.images import drawn

QUICK = settings(
    max_examples=120,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
MODES = ("RGB", "RGBA", "L", "LA", "1", "P", "CMYK", "YCbCr", "I;16", "F")
FORMATS = {
    "PNG": {},
    "BMP": {},
    "TIFF": {},
    "TIFF, LZW": {"compression": "tiff_lzw"},
    "GIF": {},
    "WEBP": {"lossless": True},
    "JPEG": {},
    "JPEG, progressive": {"progressive": True},
    **({"AVIF": {}} if features.check("avif") else {}),
}
UNKNOWN_MODES = {"WEBP": ("I;16",), "JPEG": ("I;16", "RGBA", "P")}
TURNS: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
    8: lambda p: np.rot90(p, 1),
}


def image(mode: str, width: int, height: int, seed: int) -> Image.Image:
    """A drawn image of any mode of Pillow."""
    picture = Image.fromarray(drawn(height, width, seed))
    if mode == "I;16":
        return Image.fromarray(np.asarray(picture)[..., 0].astype(np.uint16) * 257)
    if mode == "F":
        return Image.fromarray(np.asarray(picture)[..., 0].astype(np.float32) / 255)
    if mode in ("RGBA", "LA"):
        picture.putalpha(Image.fromarray(drawn(height, width, seed + 1)[..., 1]))
    return picture.convert(mode)


def files(most_px: int = 40) -> st.SearchStrategy[bytes]:
    """A file of any format, mode and size that go together."""

    def written(kind: str, mode: str, width: int, height: int, seed: int) -> bytes | None:
        try:
            return saved(image(mode, width, height, seed), kind.split(",")[0], **FORMATS[kind])
        except (OSError, ValueError):  # Pillow does not write this mode in this format
            return None

    side = st.integers(1, most_px)
    made = st.builds(
        written, st.sampled_from(sorted(FORMATS)), st.sampled_from(MODES), side, side,
        st.integers(0, 99),
    )  # fmt: skip
    return made.filter(lambda data: data is not None).map(lambda data: data or b"")


@QUICK
@given(data=files(), step_px=st.integers(1, 300))
def test_the_pixels_do_not_depend_on_how_many_rows_are_converted_at_once(
    data: bytes, step_px: int
) -> None:
    whole = decode(data)
    usual, rows.STEP_PIXELS = rows.STEP_PIXELS, step_px
    try:
        np.testing.assert_array_equal(decode(data), whole)
    finally:
        rows.STEP_PIXELS = usual


@QUICK
@given(
    mode=st.sampled_from(["RGB", "RGBA", "L", "P", "I;16"]),
    width=st.integers(1, 30),
    height=st.integers(1, 30),
    value=st.integers(1, 8),
    step_px=st.integers(1, 300),
)
def test_every_orientation_is_applied_once(
    mode: str, width: int, height: int, value: int, step_px: int
) -> None:
    picture = image(mode, width, height, seed=0)
    usual, rows.STEP_PIXELS = rows.STEP_PIXELS, step_px
    try:
        for kind in ("PNG", "TIFF", "WEBP", "JPEG"):
            if mode in UNKNOWN_MODES.get(kind, ()):
                continue
            plain = decode(saved(picture, kind))
            tag = Image.Exif()
            tag[0x0112] = value
            turned = decode(saved(picture, kind, exif=tag))
            np.testing.assert_array_equal(turned, TURNS[value](plain))
    finally:
        rows.STEP_PIXELS = usual


JUNK = st.binary(max_size=60) | st.builds(
    lambda junk, at, value: exif(orientation(value))[:at] + junk + exif(orientation(value))[at:],
    st.binary(max_size=8), st.integers(0, 26), st.integers(0, 9),
)  # fmt: skip
PLAIN = drawn(9, 14, seed=3)
JPEG, PNG = saved(Image.fromarray(PLAIN), "JPEG"), saved(Image.fromarray(PLAIN), "PNG")
CHUNKS = (
    "iCCP",
    "zTXt",
    "tEXt",
    "iTXt",
    "eXIf",
    "gAMA",
    "cHRM",
    "pHYs",
    "sBIT",
    "acTL",
    "fcTL",
    "prVt",
)
TEXTS = (b"", b"XML:com.adobe.xmp\0", b"Raw profile type exif\0", b"exif\0")


def is_turned(got: NDArray[np.uint8], plain: NDArray[np.uint8]) -> bool:
    return any(np.array_equal(got, turn(plain)) for turn in TURNS.values())


@QUICK
@given(kind=st.integers(0xE0, 0xEF) | st.just(0xFE), name=st.sampled_from(
    [b"", b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0", b"MPF\0", b"JFIF\0",
     b"Photoshop 3.0\x008BIM"]
), junk=JUNK)  # fmt: skip
def test_any_metadata_of_a_jpeg_leaves_the_pixels(kind: int, name: bytes, junk: bytes) -> None:
    # JFIF's and Adobe's own segments tell the colours, if they are whole.
    if kind == 0xEE or name == b"JFIF\0":
        junk = junk[:5]
    assert is_turned(decode(with_segments(JPEG, (kind, name + junk))), decode(JPEG))


@QUICK
@given(kind=st.sampled_from(CHUNKS), text=st.sampled_from(TEXTS), junk=JUNK, sound=st.booleans())
def test_any_metadata_of_a_png_leaves_the_pixels(
    kind: str, text: bytes, junk: bytes, sound: bool
) -> None:
    body = (text if "T" in kind else b"") + junk
    block = chunk(kind.encode(), body)
    block = block if sound else block[:-4] + b"junk"
    end = PNG.rindex(b"IEND") - 4
    for data in (with_chunks(PNG, block), PNG[:end] + block + PNG[end:]):
        assert is_turned(decode(data), PLAIN)


@QUICK
@given(block=JUNK.filter(bool), profile=st.binary(max_size=20), xmp=st.binary(max_size=20))
def test_any_metadata_of_a_webp_leaves_the_pixels(block: bytes, profile: bytes, xmp: bytes) -> None:
    data = saved(
        Image.fromarray(PLAIN), "WEBP", lossless=True, exif=block, icc_profile=profile, xmp=xmp
    )
    assert is_turned(decode(data), PLAIN)


@QUICK
@given(
    tags=st.dictionaries(
        st.sampled_from([270, 271, 272, 274, 282, 283, 296, 306, 315, 700, 33432, 33723, 34377,
                         34665, 34675, 34853, 37510, 40965, 42112, 65000]),
        st.tuples(st.sampled_from([1, 2, 7]), st.binary(min_size=1, max_size=20)),
        max_size=5,
    ),
    deflate=st.booleans(),
)  # fmt: skip
def test_any_metadata_of_a_tiff_leaves_the_pixels(
    tags: dict[int, tuple[int, bytes]], deflate: bool
) -> None:
    assert is_turned(decode(tiff(PLAIN, 2, deflate=deflate, tags=tags)), PLAIN)


@QUICK
@given(data=files(), at=st.floats(0, 1), junk=st.binary(max_size=24), keep=st.floats(0, 1))
def test_damaged_files_give_pixels_or_a_client_error(
    data: bytes, at: float, junk: bytes, keep: float
) -> None:
    start = int(at * len(data))
    damaged = (data[:start] + junk + data[start + len(junk) :])[: max(1, int(keep * len(data)))]
    try:
        got = decode(damaged)
    except ClientError:
        return
    assert got.dtype == np.uint8
    assert got.shape[2] == 3


@QUICK
@given(head=st.sampled_from(
    [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0\x08\0\0\0",
     b"MM\0*\0\0\0\x08", b"II+\0\x08\0\0\0", b"RIFF\x40\0\0\0WEBPVP8X",
     b"\0\0\0\x10ftypavif\0\0\0\0", b"<", b""]
), tail=st.binary(max_size=300))  # fmt: skip
def test_arbitrary_bytes_give_pixels_or_a_client_error(head: bytes, tail: bytes) -> None:
    with suppress(ClientError):
        assert decode(head + tail + zlib.compress(tail)).shape[2] == 3
