"""Names of sources: chained URLs, names that are not files, options that no source uses."""

import os
import re
from pathlib import Path

import fsspec
import pytest

from service.errors import UsageError
from service.scoring.files import folder_name
from service.scoring.sources import Columns, expand
from tests.support.scoring import image_folder, images_of, items, paths, write_zip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return image_folder(tmp_path / "photos", each=3)


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("zip://photos::file://{archive}", 9),
        ("zip://::file://{archive}", 9),
        ("zip://photos/red::{archive}", 3),
        ("zip://photos/*/0000.png::file://{archive}", 3),
        ("zip://**/*.png::file://{archive}", 9),
        ("zip://photos/red/0000.png::file://{archive}", 1),
        ("zip://photos/list.csv::file://{archive}", 2),
        ("simplecache::file://{archive}", 9),
        ("simplecache::zip://photos/red/*::file://{archive}", 3),
    ],
)
def test_chained_urls_name_files_in_archives(
    folder: Path, tmp_path: Path, source: str, count: int
) -> None:
    archive = tmp_path / "a.zip"
    members = [(f"photos/{p.parent.name}/{p.name}", p.read_bytes()) for p in images_of(folder)]
    table = ("photos/list.csv", b"path\nred/0000.png\nred/0001.png\n")
    write_zip(archive, [*members, table])
    images = [path.read_bytes() for path in images_of(folder)]
    found = items(source.format(archive=archive))
    assert len(found) == len({item.path for item in found}) == count
    assert all(item.read() in images for item in found)
    if not source.startswith("simplecache::file"):  # that reads the archive itself
        assert {folder_name(item.path) for item in found} <= {"red", "green", "blue"}
        assert all(item.path.endswith(str(archive)) for item in found)


def test_the_root_of_a_storage_is_a_folder(folder: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/one.png", images_of(folder)[0].read_bytes())
    try:
        for source in ("memory://", "memory://*", "memory://o*.png"):  # other tests store here too
            found = paths(source)
            assert found.count("memory://one.png") == 1
            assert all(path.startswith("memory://") for path in found)
    finally:
        memory.rm("/one.png")


def test_names_that_look_like_patterns_are_files_first(folder: Path, tmp_path: Path) -> None:
    for name in ("{0..3}.png", "[a].png"):
        path = tmp_path / name
        path.write_bytes(images_of(folder)[0].read_bytes())
        assert paths(path) == [str(path)]


def test_what_is_there_but_is_no_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to("nowhere")
    (tmp_path / "loop.png").symlink_to("loop.png")
    for name, reason in (
        ("pipe.png", "is a pipe, a socket or a device"),
        ("link.png", "is a link that leads to no file"),
        ("loop.png", "is a link that leads to no file"),
        ("pipf.png", "no file or folder .*pipf.png; did you mean '.*pipe.png'"),
    ):
        with pytest.raises(UsageError, match=reason):
            expand([str(tmp_path / name)])


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        (Columns(label="x"), "--label-column is for tables of text"),
        (Columns(path="x"), "--path-column is for tables of text"),
        (Columns(image="x"), r"--image-column is for binary tables \(.parquet, .arrow\)"),
        (Columns(root="x"), "--root is for lists of paths"),
        (Columns(separator=";"), r"--separator is for tables of text \(.csv, .tsv\)"),
    ],
)
def test_an_option_without_effect_is_refused(
    folder: Path, tmp_path: Path, columns: Columns, reason: str
) -> None:
    with pytest.raises(UsageError, match=f"{reason}.*, but got {re.escape(str(folder))}"):
        expand([str(folder)], columns)
    write_zip(tmp_path / "a.zip", [("a.png", images_of(folder)[0].read_bytes())])
    with pytest.raises(UsageError, match=reason):
        expand([str(tmp_path / "a.zip"), str(folder / "red" / "*.png")], columns)


def test_an_option_may_be_for_one_of_several_sources(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"path;x\n{images_of(folder)[0]};red\n")
    assert len(paths(folder, tmp_path / "a.csv", columns=Columns(label="x", separator=";"))) == 10
