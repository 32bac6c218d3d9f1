"""Sources that change between two runs of one command: noticed, whatever the source.

The rule, for any change: either the command is refused, or its result is what a run that was
never interrupted makes of the sources as they are now.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from service.cli import app
from tests.support.images import coloured, encoded
from tests.support.scoring import (
    interrupted,
    read_rows,
    run_score,
    write_parquet,
    write_tar,
    write_zip,
)


class Image(NamedTuple):
    name: str
    data: bytes
    label: str


COLOURS = ("red", "green", "blue")
FIRST = [
    Image(f"{n:02}.png", encoded(coloured(COLOURS[n % 3], 64, 64, seed=n)), COLOURS[n % 3])
    for n in range(12)
]
OTHER = Image("99.png", encoded(coloured("blue", 64, 80, seed=99)), "blue")


def folder(at: Path, images: list[Image]) -> Path:
    shutil.rmtree(at, ignore_errors=True)
    for image in images:
        (at / image.label).mkdir(parents=True, exist_ok=True)
        (at / image.label / image.name).write_bytes(image.data)
    return at


def csv_list(at: Path, images: list[Image]) -> Path:
    folder(at, images)
    rows = "".join(f"{i.label}/{i.name},{i.label}\n" for i in images)
    (at / "list.csv").write_text(f"path,truth\n{rows}")
    return at / "list.csv"


def tar(at: Path, images: list[Image]) -> Path:
    at.mkdir(exist_ok=True)
    members = [
        member
        for image in images
        for member in ((image.name, image.data), (f"{image.name[:-4]}.cls", image.label.encode()))
    ]
    return write_tar(at / "shard.tar", members)


def packed(at: Path, images: list[Image]) -> Path:
    at.mkdir(exist_ok=True)
    return write_zip(at / "shard.zip", [(f"{i.label}/{i.name}", i.data) for i in images])


def table(at: Path, images: list[Image]) -> Path:
    at.mkdir(exist_ok=True)
    columns = {"image": [i.data for i in images], "truth": [i.label for i in images]}
    return write_parquet(at / "table.parquet", columns)


Writer = Callable[[Path, list[Image]], Path]
KINDS: list[Writer] = [folder, csv_list, tar, packed, table]


def options(source: Path, package: Path) -> list[object]:
    column = ["--label-column", "truth"] if source.suffix in (".csv", ".parquet") else []
    return [source, "--model", package, "--no-timing", "--chunk-images", 4, *column]


@st.composite
def changed(draw: st.DrawFn) -> list[Image]:
    """The images after a change: some, perhaps none, are others than they were."""
    images = list(FIRST)
    at = draw(st.integers(0, len(images) - 1))
    match draw(st.sampled_from(["nothing", "content", "label", "swap", "add", "remove", "bytes"])):
        case "content":
            images[at] = OTHER._replace(name=images[at].name, label=images[at].label)
        case "label":
            images[at] = images[at]._replace(label="red" if images[at].label != "red" else "blue")
        case "swap":
            other = draw(st.integers(0, len(images) - 1))
            one, two = images[at], images[other]
            images[at], images[other] = one._replace(data=two.data), two._replace(data=one.data)
        case "add":
            images.insert(at, OTHER)
        case "remove":
            del images[at]
        case "bytes":
            images[at] = images[at]._replace(data=images[at].data + b"more")
        case _:
            pass
    return images


def rows_of_a_fresh_run(source: Path, package: Path, scratch: Path) -> list[dict[str, Any]]:
    fresh = scratch / "fresh.parquet"
    assert run_score(*options(source, package), "-o", fresh).exit_code == 0
    return read_rows(fresh)


slow = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("write", KINDS)
@slow
@given(images=changed())
def test_a_resumed_run_is_refused_or_equal_to_a_fresh_one(
    package: Path, write: Writer, images: list[Image]
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "out.parquet"
        source = write(Path(scratch) / "source", FIRST)
        interrupted(*options(source, package), out=out)
        write(Path(scratch) / "source", images)
        again = run_score(*options(source, package), "-o", out)
        if images == FIRST:
            assert again.exit_code == 0, again.stderr
        if again.exit_code:
            assert " has changed: " in again.stderr
            assert "--restart" in again.stderr
            assert run_score(*options(source, package), "-o", out, "--restart").exit_code == 0
        assert read_rows(out) == rows_of_a_fresh_run(source, package, Path(scratch))


@pytest.mark.parametrize("write", KINDS)
@slow
@given(images=changed())
def test_complete_already_is_said_of_equal_images_only(
    package: Path, write: Writer, images: list[Image]
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "out.parquet"
        source = write(Path(scratch) / "source", FIRST)
        assert run_score(*options(source, package), "-o", out).exit_code == 0
        write(Path(scratch) / "source", images)
        again = run_score(*options(source, package), "-o", out, "--json")
        assert (again.exit_code == 0) == (images == FIRST), again.stderr
        if again.exit_code:
            assert " has changed: " in again.stderr
            assert "--overwrite" in again.stderr
        else:
            summary = json.loads(again.stdout)
            assert summary["complete_already"] is True
            assert summary["images"] == len(FIRST)
            assert summary["accuracy"]["top1"]["accuracy"] == 1.0


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return folder(tmp_path / "photos", FIRST)


def test_what_differs_is_named(source: Path, package: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    assert run_score(*options(source, package), "-o", out).exit_code == 0
    (source / "green" / "00.png").write_bytes(OTHER.data)
    more = run_score(*options(source, package), "-o", out)
    assert f"image 5 was {source}/green/01.png and is now {source}/green/00.png" in more.stderr
    (source / "green" / "00.png").rename(source / "red" / "99.png")
    more = run_score(*options(source, package), "-o", out)
    assert f"image 13 is {source}/red/99.png, which was not there" in more.stderr
    (source / "red" / "99.png").unlink()
    (source / "red" / "09.png").unlink()
    fewer = run_score(*options(source, package), "-o", out)
    assert f"image 12 was {source}/red/09.png and is now missing" in fewer.stderr


def test_a_file_of_the_same_size_and_time_is_noticed(
    source: Path, package: Path, tmp_path: Path
) -> None:
    """As `touch -r` and `cp --preserve` make them: only the inode's own time tells."""
    out, whole = tmp_path / "out.parquet", tmp_path / "whole.parquet"
    path = source / "blue" / "02.png"
    before, data = path.stat(), path.read_bytes()
    interrupted(*options(source, package), out=out)
    assert run_score(*options(source, package), "-o", whole).exit_code == 0
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    resumed = run_score(*options(source, package), "-o", out)
    assert f"image 1 ({path}) has other content" in resumed.stderr
    complete = run_score(*options(source, package), "-o", whole)
    assert "the content or the labels of its images differ" in complete.stderr


def test_a_copy_of_the_source_is_the_same_source(
    source: Path, package: Path, tmp_path: Path
) -> None:
    """After a restore every time is new; the content decides."""
    out, whole = tmp_path / "out.parquet", tmp_path / "whole.parquet"
    interrupted(*options(source, package), out=out)
    assert run_score(*options(source, package), "-o", whole).exit_code == 0
    source.rename(tmp_path / "moved")
    shutil.copytree(tmp_path / "moved", source)
    again = run_score(*options(source, package), "-o", out, "--json")
    assert json.loads(again.stdout)["resumed_from"] == 4
    assert run_score(*options(source, package), "-o", whole).exit_code == 0


def test_an_image_that_could_not_be_read_and_now_can(
    source: Path, package: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.parquet"
    path = source / "blue" / "00.png"
    path.symlink_to(tmp_path / "later.png")
    interrupted(*options(source, package), out=out)
    (tmp_path / "later.png").write_bytes(OTHER.data)
    refused = run_score(*options(source, package), "-o", out)
    assert refused.exit_code == 1
    assert f"image 1 ({path}) has other content" in refused.stderr


def piped(paths: list[Path], package: Path, out: Path) -> Any:
    given = ["score", "-", "-o", str(out), "--model", str(package), "--json"]
    return CliRunner().invoke(app, given, input="".join(f"{path}\n" for path in paths))


def test_standard_input_is_compared_too(source: Path, package: Path, tmp_path: Path) -> None:
    out, paths = tmp_path / "out.parquet", sorted(source.rglob("*.png"))
    assert piped(paths[:5], package, out).exit_code == 0
    same = piped(paths[:5], package, out)
    assert json.loads(same.stdout)["complete_already"] is True, same.stderr
    for lines in (paths[1:6], paths[:6], paths[:4], []):
        refused = piped(lines, package, out)
        assert refused.exit_code == 1, lines
        assert "exists already, of other images: - has changed: image" in refused.stderr


def test_a_table_of_a_storage_that_keeps_no_times(package: Path, tmp_path: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    url = f"memory://{tmp_path.name}/table.parquet"
    out = tmp_path / "out.parquet"
    memory.pipe_file(url, table(tmp_path / "a", FIRST).read_bytes())
    given = [url, "--model", package, "--label-column", "truth", "--chunk-images", 4, "--no-timing"]
    interrupted(*given, out=out)
    memory.pipe_file(url, table(tmp_path / "b", FIRST).read_bytes())
    assert run_score(*given, "-o", out).exit_code == 0
    assert "is complete already" in run_score(*given, "-o", out).stderr
    swapped = [FIRST[0]._replace(data=FIRST[3].data), *FIRST[1:]]
    memory.pipe_file(url, table(tmp_path / "b", swapped).read_bytes())
    refused = run_score(*given, "-o", out)
    assert "the content or the labels of its images differ" in refused.stderr
