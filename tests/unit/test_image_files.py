"""One rule for what an image is: by name where a name says enough, by content elsewhere."""

import pytest
from PIL import Image

from service.inference.decode import FORMATS
from service.inference.image.signatures import format_of
from service.listing.image_files import (
    DECODED_SUFFIXES,
    NO_IMAGE_SUFFIXES,
    OTHER_IMAGE_SUFFIXES,
    is_decoded,
    is_hidden,
    is_hidden_path,
    is_image,
    suffix_of,
)
from tests.support.images import drawn, encoded

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


def never() -> bytes:
    raise AssertionError("the name says enough: the file must not be opened")


def test_the_lists_of_suffixes_are_apart() -> None:
    assert not DECODED_SUFFIXES & OTHER_IMAGE_SUFFIXES
    assert not NO_IMAGE_SUFFIXES & (DECODED_SUFFIXES | OTHER_IMAGE_SUFFIXES)


def test_every_suffix_that_pillow_knows_for_a_decoded_format_is_listed() -> None:
    Image.init()
    known = {suffix for suffix, kind in Image.EXTENSION.items() if kind in (*FORMATS, "MPO")}
    assert known <= DECODED_SUFFIXES


@pytest.mark.parametrize("kind", FORMATS)
def test_every_decoded_format_is_known_by_its_first_bytes(kind: str) -> None:
    assert format_of(encoded(drawn(40, 50), kind)[:64]) == kind


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (HEIC, "HEIC"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "AVIF"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\xff\x0a....", "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"II+\0", "TIFF"),
        (b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom", "camera raw (CR3)"),
        (b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41", None),
        (b"BMW drives", None),
        (b"", None),
        (b"RIFF\0\0\0\0WAVE", None),
    ],
)
def test_other_first_bytes(head: bytes, kind: str | None) -> None:
    assert format_of(head) == kind


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG", "a.jfif", "a.Jpe", "a.avif", "a.tiff"])
def test_a_decoded_suffix_is_enough(name: str) -> None:
    assert is_image(name, never)
    assert is_decoded(name, never)


@pytest.mark.parametrize("name", ["a.txt", "a.CSV", "a.json", "a.mp4", "jpg.tar.gz"])
def test_other_files_are_not_opened(name: str) -> None:
    assert not is_image(name, never)
    assert not is_decoded(name, never)


@pytest.mark.parametrize("name", ["a.HEIC", "a.jxl", "a.svg", "a.CR2"])
def test_an_image_of_another_format_is_scored_and_not_trained_on(name: str) -> None:
    assert is_image(name, never)
    assert not is_decoded(name, lambda: HEIC)
    assert is_decoded(name, lambda: encoded(drawn(40, 50), "JPEG")[:64])  # it only says so


@pytest.mark.parametrize("name", ["IMG_1", "a.dat", "photo.2024", "a.jpg.1", "a.jpg?x=1", "a."])
def test_where_a_name_says_nothing_the_content_does(name: str) -> None:
    assert is_image(name, lambda: encoded(drawn(40, 50), "WEBP")[:64])
    assert not is_image(name, lambda: b"text")
    assert is_image(name, lambda: HEIC)
    assert not is_decoded(name, lambda: HEIC)


def test_a_file_that_cannot_be_read_is_told_later() -> None:
    def refused() -> bytes:
        raise PermissionError(13, "Permission denied")

    assert is_image("noext", refused)
    assert is_decoded("noext", refused)


@pytest.mark.parametrize(
    "name",
    [
        ".hidden.jpg", "._a.jpg", ".DS_Store", "Thumbs.db", "thumbs.DB", "desktop.ini", "Icon\r",
        "a.jpg~", "~$a.jpg", "#a.jpg#", ".#a.jpg",
    ],
)  # fmt: skip
def test_hidden_files(name: str) -> None:
    assert is_hidden(name)


@pytest.mark.parametrize(
    "name",
    [
        ".ipynb_checkpoints", "@eaDir", "__MACOSX", ".git", "#recycle", ".@__thumb", "lost+found",
        "$RECYCLE.BIN", "System Volume Information", ".Trash-1000", "__pycache__", ".AppleDouble",
    ],
)  # fmt: skip
def test_hidden_folders(name: str) -> None:
    assert is_hidden(name, is_folder=True)
    assert is_hidden_path(f"data/{name}/a.jpg")
    assert is_hidden_path(f".\\{name}\\a.jpg")


def test_other_names_are_not_hidden() -> None:
    for name in ("a.jpg", "@home", "#1", "cat~dog", "git", "macosx", "thumbs.jpg"):
        assert not is_hidden(name)
        assert not is_hidden(name, is_folder=True)
    for path in ("./a.jpg", "../b/a.jpg", "a\\b.jpg", "/abs/a.jpg", "a.jpg"):
        assert not is_hidden_path(path)


def test_suffixes() -> None:
    assert suffix_of("A.JPG") == ".jpg"
    assert suffix_of("Mr. Smith on a very long day") == ""
    assert suffix_of("noext") == suffix_of(".bashrc") == suffix_of("a.\x1b[2J") == ""
