"""Sources: the same images, however they are named or packed, in an order that stays."""

import gzip
from itertools import islice
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.ipc as ipc
import pytest

from service.errors import UsageError
from service.scoring.sources import Columns, entries, expand
from tests.support.scoring import (
    image_folder,
    images_of,
    items,
    paths,
    write_parquet,
    write_tar,
    write_zip,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return image_folder(tmp_path / "photos", each=3)


def test_a_folder_is_walked_in_the_order_of_names(folder: Path) -> None:
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_bytes(b"hidden")
    assert paths(folder) == [str(path) for path in images_of(folder) if path.name[0] != "."]
    assert expand([str(folder)])[0].count() == 9


def test_a_folder_of_many_names_is_sorted_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "SPILL_NAMES", 7)
    names = [f"{(number * 37) % 100:03}-{'é' * number}.png" for number in range(60)]
    for name in names:
        (tmp_path / name).touch()
    assert paths(tmp_path) == [f"{tmp_path}/{name}" for name in sorted(names)]


def test_a_link_that_leads_back_ends(folder: Path) -> None:
    (folder / "red" / "up").symlink_to(folder)
    (folder / "more").symlink_to(folder / "blue")
    found = paths(folder)
    assert len(found) == len(set(found)) == 12
    assert f"{folder}/more/0000.png" in found


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        ("*/0000.png", 3),
        ("**/*.png", 9),
        ("red/000[01].png", 2),
        ("[!r]*/*.png", 6),
        ("**/000?.png", 9),
        ("re*", 3),
        ("*", 9),
    ],
)
def test_globs(folder: Path, pattern: str, count: int) -> None:
    found = paths(f"{folder}/{pattern}")
    assert len(found) == count
    assert found == sorted(found)


def test_a_glob_of_shards_is_a_leaf_for_each(folder: Path, tmp_path: Path) -> None:
    for number, path in enumerate(images_of(folder)):
        write_tar(tmp_path / f"shard-{number:03}.tar", [(path.name, path.read_bytes())])
    assert len(expand([f"{tmp_path}/shard-*.tar"])) == 9
    braces = expand([f"{tmp_path}/shard-{{002..004}}.tar"])
    assert [Path(stream.name).name for stream in braces] == [f"shard-00{n}.tar" for n in (2, 3, 4)]
    with pytest.raises(UsageError, match=r"no file .*shard-009"):
        expand([f"{tmp_path}/shard-{{002..009}}.tar"])


def test_a_text_list_is_relative_to_its_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("photos/red/0000.png\n\nphotos/blue/0001.png\r\n")
    expected = [f"{folder}/red/0000.png", f"{folder}/blue/0001.png"]
    assert paths(tmp_path / "list.txt") == expected
    (folder / "list.lst").write_text("0000.png\n")
    rooted = Columns(root=str(folder / "green"))
    assert paths(folder / "list.lst", columns=rooted) == [f"{folder}/green/0000.png"]


def test_a_csv_has_a_column_of_paths_and_one_of_labels(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('path,class\n"a, b.png",red\nc.png,\n')
    (tmp_path / "b.tsv").write_text("where\tclass\nd.png\tblue\n")
    columns = Columns(label="class")
    found = items(tmp_path / "a.csv", columns=columns)
    assert [(i.path, i.label) for i in found] == [
        (f"{tmp_path}/a, b.png", "red"),
        (f"{tmp_path}/c.png", ""),
    ]
    assert paths(tmp_path / "b.tsv", columns=Columns("where", label="class")) == [
        f"{tmp_path}/d.png"
    ]
    with pytest.raises(UsageError, match="which holds the paths"):
        expand([str(tmp_path / "b.tsv")])
    with pytest.raises(
        UsageError, match=r"no column 'nope' \(--label-column\); it has: path, class"
    ):
        expand([str(tmp_path / "a.csv")], Columns(label="nope"))


@pytest.mark.parametrize("kind", ["parquet", "arrow", "stream", "struct"])
def test_tables_of_bytes(folder: Path, tmp_path: Path, kind: str) -> None:
    data = [path.read_bytes() for path in images_of(folder)]
    labels = [path.parent.name for path in images_of(folder)]
    table = pa.table({"image": pa.array(data, pa.binary()), "label": labels})
    if kind == "struct":  # as Hugging Face's datasets stores images
        image = [{"bytes": one, "path": f"{n}.png"} for n, one in enumerate(data)]
        table = pa.table({"image": image, "label": labels})
    path = tmp_path / ("images.parquet" if kind in ("parquet", "struct") else "images.arrow")
    if path.suffix == ".parquet":
        write_parquet(path, table, row_group_size=2)  # type: ignore[arg-type]
    else:
        new = ipc.new_file if kind == "arrow" else ipc.new_stream
        with new(str(path), table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    found = items(path, columns=Columns(label="label"))
    assert [item.read() for item in found] == data
    assert [item.label for item in found] == labels
    assert found[3].path == ("3.png" if kind == "struct" else f"{path}#3")
    (stream,) = expand([str(path)])
    for skip in range(len(data) + 1):
        assert [item.read() for item in stream.items(skip)] == data[skip:]


def test_a_table_of_paths(folder: Path, tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "list.parquet", {"file": ["photos/red/0000.png"], "n": [1]})
    assert paths(path) == [f"{folder}/red/0000.png"]
    with pytest.raises(UsageError, match="which holds the images"):
        expand([str(write_parquet(tmp_path / "n.parquet", {"n": [1]}))])


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tgz", ".tar.xz"])
def test_a_webdataset_shard(folder: Path, tmp_path: Path, suffix: str) -> None:
    red, blue = (folder / name / "0000.png" for name in ("red", "blue"))
    members = [
        ("a/001.png", red.read_bytes()),
        ("a/001.cls", b"0"),
        ("a/002.json", b'{"label": "blue"}'),
        ("a/002.left.png", blue.read_bytes()),
        ("a/002.right.png", blue.read_bytes()),
        ("a/003.jpg", b"broken"),
        ("a/readme.md", b"nothing"),
    ]
    mode = "w:gz" if "gz" in suffix else "w:xz" if "xz" in suffix else "w"
    path = write_tar(tmp_path / f"shard{suffix}", members, mode)
    found = items(path)
    assert [(Path(i.path).name, i.label) for i in found] == [
        ("001.png", "0"),
        ("002.left.png", "blue"),
        ("002.right.png", "blue"),
        ("003.jpg", None),
    ]
    assert found[0].read() == red.read_bytes()
    (stream,) = expand([str(path)])
    assert [i.path for i in stream.items(2)] == [i.path for i in found[2:]]


def test_a_truncated_tar_gives_what_it_has_and_says_so(folder: Path, tmp_path: Path) -> None:
    members = [(f"{n:03}.png", path.read_bytes()) for n, path in enumerate(images_of(folder))]
    whole = write_tar(tmp_path / "whole.tar", members).read_bytes()
    complete = [item.path.rpartition("/")[2] for item in items(tmp_path / "whole.tar")]
    assert len(complete) == 9
    at_member = 512 + -(-len(members[0][1]) // 512) * 512
    for cut in (at_member - 1, at_member, at_member + 100, at_member + 700, len(whole) // 2):
        path = tmp_path / f"cut-{cut}.tar"
        path.write_bytes(whole[:cut])
        *good, last = items(path)
        assert [item.path.rpartition("/")[2] for item in good] == complete[: len(good)]
        assert last.path == str(path)
        assert last.error is not None
        assert "the archive breaks off" in last.error


def test_a_truncated_gzip_says_so(folder: Path, tmp_path: Path) -> None:
    members = [(f"{n:03}.png", path.read_bytes()) for n, path in enumerate(images_of(folder))]
    data = gzip.compress(write_tar(tmp_path / "whole.tar", members).read_bytes())
    (tmp_path / "cut.tar.gz").write_bytes(data[: len(data) // 2])
    *good, last = items(tmp_path / "cut.tar.gz")
    assert 0 < len(good) < 9
    assert "breaks off after" in (last.error or "")


def test_zip(folder: Path, tmp_path: Path) -> None:
    members = [
        (f"x/{path.parent.name}/{path.name}", path.read_bytes()) for path in images_of(folder)
    ]
    path = write_zip(tmp_path / "photos.zip", [*members, ("x/readme.txt", b"hello")])
    found = items(path)
    assert [item.path for item in found] == [f"{path}/{name}" for name, _ in members]
    assert [item.read() for item in found] == [data for _, data in members]
    (stream,) = expand([str(path)])
    assert stream.count() == 9
    (tmp_path / "cut.zip").write_bytes(path.read_bytes()[:-30])
    (broken,) = items(tmp_path / "cut.zip")
    assert "the zip file cannot be read" in (broken.error or "")


def test_a_broken_member_of_a_zip_is_alone(folder: Path, tmp_path: Path) -> None:
    members = [(path.parent.name + path.name, path.read_bytes()) for path in images_of(folder)[:3]]
    path = write_zip(tmp_path / "photos.zip", members)
    data = bytearray(path.read_bytes())
    data[data.index(members[1][1]) + 40] ^= 0xFF
    path.write_bytes(data)
    errors = [item.error for item in items(path)]
    assert errors[0] is errors[2] is None
    assert "cannot be read" in (errors[1] or "")


def test_urls_go_through_fsspec(folder: Path, tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    root = f"/{tmp_path.name}"
    for path in images_of(folder):
        memory.pipe(f"{root}/photos/{path.parent.name}/{path.name}", path.read_bytes())
    tar = write_tar(tmp_path / "s.tar", [("0.png", images_of(folder)[0].read_bytes())])
    memory.pipe(f"{root}/s.tar", tar.read_bytes())
    memory.pipe(f"{root}/list.txt", b"photos/red/0001.png\n")
    url = f"memory:/{root}"
    found = items(f"{url}/photos")
    assert [i.path for i in found] == [
        f"{url}/photos/{p.parent.name}/{p.name}" for p in images_of(folder)
    ]
    assert found[0].read() == images_of(folder)[0].read_bytes()
    assert len(items(f"{url}/photos/*/0000.png")) == 3
    assert [i.path for i in items(f"{url}/s.tar")] == [f"{url}/s.tar/0.png"]
    (listed,) = items(f"{url}/list.txt")
    assert listed.read() == (folder / "red" / "0001.png").read_bytes()
    with pytest.raises(UsageError, match="no file"):
        expand([f"{url}/missing.tar"])


def test_what_is_not_there_is_refused_at_once(folder: Path, tmp_path: Path) -> None:
    for missing in ("nothing.png", "nothing", "nothing/*.png", "nothing.tar", "nothing.parquet"):
        with pytest.raises(UsageError, match="nothing"):
            expand([str(folder), str(tmp_path / missing)])
    (tmp_path / "text.parquet").write_text("not parquet")
    with pytest.raises(UsageError, match="cannot be read"):
        expand([str(tmp_path / "text.parquet")])
    with pytest.raises(UsageError, match="once only"):
        expand(["-", "-"])


def test_every_leaf_skips_as_slicing_does(folder: Path, tmp_path: Path) -> None:
    members = [(path.parent.name + path.name, path.read_bytes()) for path in images_of(folder)]
    write_tar(tmp_path / "a.tar", members)
    write_zip(tmp_path / "a.zip", members)
    (tmp_path / "a.txt").write_text("".join(f"{path}\n" for path in images_of(folder)))
    (tmp_path / "a.csv").write_text("path\n" + "".join(f"{path}\n" for path in images_of(folder)))
    sources = [
        folder,
        f"{folder}/*/*.png",
        *(tmp_path / f"a.{s}" for s in ("tar", "zip", "txt", "csv")),
    ]
    for stream in expand(map(str, sources)):
        whole = [item.path for item in stream.items()]
        assert len(whole) == 9
        for skip in (1, 5, 9, 12):
            assert [item.path for item in stream.items(skip)] == list(islice(whole, skip, None))
