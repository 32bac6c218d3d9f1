"""Sources count what they pass over, wherever their items begin."""

import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.console.text import storable
from service.listing.skipped import Skipped
from service.scoring.sources import expand
from service.scoring.sources.source import sifted
from tests.support.images import coloured, encoded
from tests.support.names import file_names

IMAGE = encoded(coloured("red", 40, 50), "JPEG")
FILES = {
    "IMG_1.JPG": IMAGE,
    "IMG_2": IMAGE,
    "IMG_3.HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "IMG_4.dat": IMAGE,
    "notes.txt": b"hello",
    "table.csv": b"a,b",
    "noise.dat": b"\1\2\3",
    ".hidden.jpg": IMAGE,
    "Thumbs.db": b"x",
    "cat/IMG_5.jfif": IMAGE,
    "cat/@eaDir/IMG_5.jpg": IMAGE,
    "__MACOSX/._IMG_1.JPG": b"x",
}
TAKEN = ["IMG_1.JPG", "IMG_2", "IMG_3.HEIC", "IMG_4.dat", "cat/IMG_5.jfif"]
SKIPPED = {".csv": 1, ".dat": 1, ".txt": 1}


def written(folder: Path) -> Path:
    for name, data in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def zipped(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in FILES.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, names: dict[str, bytes] | None = None, prefix: str = "") -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in (FILES if names is None else names).items():
            info = tarfile.TarInfo(prefix + name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def read(source: object, skip: int = 0) -> tuple[list[str], Skipped]:
    """The paths of the items after the first `skip`, relative to the source, and the rest."""
    (stream,) = expand([str(source)])
    skipped = Skipped()
    paths = [item.path for item in sifted(stream, skip, skipped)]
    return [path.removeprefix(f"{source}/").removeprefix("./") for path in paths], skipped


def counts(skipped: Skipped) -> dict[str, int]:
    return {why: group.files for why, group in skipped.groups.items() if "hidden" not in why}


@pytest.mark.parametrize("skip", [0, 2, 5, 9])
@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "dotted tar", "url"])
def test_every_source_takes_and_counts_the_same(tmp_path: Path, kind: str, skip: int) -> None:
    if kind == "folder":
        source: object = written(tmp_path / "photos")
    elif kind == "zip":
        source = zipped(tmp_path / "photos.zip")
    elif kind == "url":
        memory = fsspec.filesystem("memory")
        for name, data in FILES.items():
            memory.pipe(f"/{tmp_path.name}/{name}", data)
        source = f"memory://{tmp_path.name}"
    else:
        source = tarred(tmp_path / "photos.tar", prefix="./" if kind == "dotted tar" else "")
    paths, skipped = read(source, skip)
    assert [path.rpartition(f"{tmp_path.name}/")[2] for path in paths] == TAKEN[skip:]
    assert counts(skipped) == SKIPPED
    assert skipped.hidden == 4
    (stream,) = expand([str(source)])
    assert stream.count() in (len(TAKEN), None)


def test_a_glob_counts_what_it_names(tmp_path: Path) -> None:
    folder = written(tmp_path / "photos")
    _, skipped = read(f"{folder}/*")
    assert counts(skipped) == SKIPPED
    _, skipped = read(f"{folder}/IMG*")
    assert skipped.groups == {}
    _, skipped = read(f"{folder}/n*")
    assert counts(skipped) == {".dat": 1, ".txt": 1}
    paths, skipped = read(f"{folder}/*.dat")  # asked for by name: noise becomes an error row
    assert len(paths) == 2
    assert skipped.groups == {}


def test_a_link_to_itself_takes_nothing_else_away(tmp_path: Path) -> None:
    folder = written(tmp_path / "photos")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "nowhere.png").symlink_to("nothing")
    paths, _ = read(folder)
    assert paths == [*TAKEN[:4], "cat/IMG_5.jfif", "loop.jpg", "nowhere.png"]


def test_a_pipe_is_no_image_and_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    os.mkfifo(tmp_path / "pipe")
    paths, skipped = read(tmp_path)
    assert paths == []
    assert counts(skipped) == {"pipe, socket or device": 2}


def test_many_names_keep_their_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from service.scoring.sources import entries

    monkeypatch.setattr(entries, "SPILL_NAMES", 2)
    folder = written(tmp_path / "photos")
    os.mkfifo(folder / "pipe.jpg")
    paths, skipped = read(folder)
    assert paths == TAKEN
    assert counts(skipped) == {**SKIPPED, "pipe, socket or device": 1}


def test_members_of_a_sample_belong_to_its_image(tmp_path: Path) -> None:
    members = {
        "001.jpg": IMAGE, "._001.jpg": b"x", "001.cls": b"3", "001.npy": b"x",
        "002.txt": b"lonely", "003.jpg": IMAGE, "003.bbox.json": b"{}",
    }  # fmt: skip
    source = tarred(tmp_path / "shard.tar", members)
    paths, skipped = read(source)
    assert paths == ["001.jpg", "003.jpg"]
    assert counts(skipped) == {".txt": 1}
    (stream,) = expand([str(source)])
    assert [item.label for item in stream.items()] == ["3", None]


def test_links_in_a_tar_are_said(tmp_path: Path) -> None:
    path = tmp_path / "links.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("a.jpg")
        info.size = len(IMAGE)
        archive.addfile(info, io.BytesIO(IMAGE))
        for name, kind in (
            ("b.jpg", tarfile.LNKTYPE), ("c.jpg", tarfile.SYMTYPE), ("d", tarfile.SYMTYPE),
            ("e.jpg", tarfile.FIFOTYPE),
        ):  # fmt: skip
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, "a.jpg"
            archive.addfile(link)
    (stream,) = expand([str(path)])
    skipped = Skipped()
    found = {item.path.rpartition("/")[2]: item.error for item in sifted(stream, 0, skipped)}
    assert found["a.jpg"] is None
    for name in ("b.jpg", "c.jpg"):
        assert found[name] == "DataError: the member is a link to a.jpg, and is not followed"
    assert counts(skipped) == {"link in an archive": 1, "pipe, socket or device": 1}


@settings(max_examples=50)
@given(st.lists(file_names, min_size=1, max_size=4), st.integers(0, 3000))
def test_any_names_in_a_tar_that_breaks_off(names: list[str], cut: int) -> None:
    """Every item's path and error can be stored, and a cut archive says that it is cut."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        whole = tarred(Path(folder) / "whole.tar", dict.fromkeys(names, IMAGE)).read_bytes()
        path = Path(folder) / "cut.tar"
        path.write_bytes(whole[: max(0, len(whole.rstrip(b"\0")) - cut)])
        (stream,) = expand([str(path)])
        skipped = Skipped()
        items = list(sifted(stream, 0, skipped))
    assert "breaks off" in (items[-1].error or "")
    for item in items:
        storable(item.path).encode()
        storable(item.error or "").encode()
    skipped.facts()


def test_links_in_a_zip_are_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.jpg", IMAGE)
        for name in ("b.jpg", "latest"):
            link = zipfile.ZipInfo(name)
            link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
            archive.writestr(link, "a.jpg")
    skipped = Skipped()
    (source,) = expand([str(path)])
    image, broken = sifted(source, 0, skipped)
    assert (image.read(), image.error) == (IMAGE, None)
    assert broken.error == "DataError: the member is a link to a.jpg, and is not followed"
    assert counts(skipped) == {"link in an archive": 1}
