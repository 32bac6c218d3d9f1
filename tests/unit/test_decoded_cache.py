"""Decoded images on disk: made once, used again, never half written, bounded, and cleaned."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from service import cli
from service.errors import DataError, OutOfResources, UsageError
from tests.support.images import drawn, encoded
from training.data.cache import cache_folder, decoding, entry
from training.data.cache.build import Cache, Estimate
from training.data.cache.cache_folder import GIB, listed
from training.data.cache.storing import Storing
from training.data.stats import from_files

SIDE_PX = 40
IMAGE_BYTES = 3 * SIDE_PX * SIDE_PX


@pytest.fixture(name="files")
def _files(tmp_path: Path) -> list[Path]:
    (tmp_path / "images").mkdir()
    paths = [tmp_path / "images" / f"{number}.png" for number in range(12)]
    for number, path in enumerate(paths):
        path.write_bytes(encoded(drawn(SIDE_PX, SIDE_PX, seed=number)))
    return paths


def cache(folder: Path, shorter_px: int = 500, limit: int = GIB) -> Cache:
    return Cache(Storing(shorter_px), folder / "cache", limit)


def test_a_finished_entry_is_used_again(files: list[Path], tmp_path: Path) -> None:
    made = cache(tmp_path).build(files, "drawn")
    found = cache(tmp_path).existing(list(reversed(files)))  # the order belongs to the split
    assert found is not None
    assert found.folder == made.folder
    for row, number in zip(found.rows_of(files), range(12), strict=True):
        np.testing.assert_array_equal(found.image(row), drawn(SIDE_PX, SIDE_PX, seed=number))
    assert found.nbytes == 12 * IMAGE_BYTES
    assert [one.folder for one in listed(tmp_path / "cache")] == [made.folder]


def test_the_statistics_are_those_of_the_files(files: list[Path], tmp_path: Path) -> None:
    made = cache(tmp_path, shorter_px=32).build(files, "drawn")
    assert made.image(0).shape == (32, 32, 3)
    for some in (files, files[3:5]):
        assert made.stats(made.rows_of(some)) == from_files(some)


def test_other_settings_or_changed_files_are_another_entry(
    files: list[Path], tmp_path: Path
) -> None:
    cache(tmp_path).build(files, "drawn")
    assert cache(tmp_path, shorter_px=32).existing(files) is None
    assert Cache(Storing(500, "scaled", 3), tmp_path / "cache").existing(files) is None
    assert cache(tmp_path).existing(files[1:]) is None
    state = files[0].stat()
    data = files[0].read_bytes()
    files[0].write_bytes(data[::-1])  # as long as before, and newer
    os.utime(files[0], ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert cache(tmp_path).existing(files) is None
    files[0].write_bytes(data)
    os.utime(files[0], ns=(state.st_atime_ns, state.st_mtime_ns))
    assert cache(tmp_path).existing(files) is not None
    files[0].unlink()
    with pytest.raises(DataError, match=r"0\.png cannot be read"):
        cache(tmp_path).existing(files)


def test_broken_files_are_named(files: list[Path], tmp_path: Path) -> None:
    files[2].write_bytes(files[2].read_bytes()[:60])
    made = cache(tmp_path).build(files, "drawn")
    assert len(made) == 11
    (path, reason), *rest = made.broken(files).items()
    assert (path, rest) == (files[2], [])
    assert reason.startswith("the PNG cannot be decoded")  # messages have the path already
    with pytest.raises(DataError, match=r"does not hold .*2\.png"):
        made.rows_of(files)


def test_processes_make_the_same_entry(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = cache(tmp_path / "a").build(files, "drawn")
    monkeypatch.setattr(decoding, "IMAGES_PER_PROCESS", 4)
    monkeypatch.setattr(decoding, "CHUNK_IMAGES", 2)
    monkeypatch.setattr(decoding, "usable_cores", lambda: 2)
    shared = cache(tmp_path / "b").build(files, "drawn")
    assert len(shared.parts) == 2
    assert shared.folder.name == alone.folder.name
    for one, other in zip(alone.rows_of(files), shared.rows_of(files), strict=True):
        np.testing.assert_array_equal(alone.image(one), shared.image(other))


@pytest.mark.parametrize("name", [entry.FACTS, entry.TABLE, "part-000.bin"])
def test_an_altered_entry_is_made_again(files: list[Path], tmp_path: Path, name: str) -> None:
    made = cache(tmp_path).build(files, "drawn")
    path = made.folder / name
    path.write_bytes(path.read_bytes()[:-10])
    assert cache(tmp_path).existing(files) is None
    again = cache(tmp_path).build(files, "drawn")
    np.testing.assert_array_equal(again.image(0), made.image(0))
    path.unlink()
    assert cache(tmp_path).existing(files) is None


def test_a_row_outside_its_part_is_refused(files: list[Path], tmp_path: Path) -> None:
    made = cache(tmp_path).build(files, "drawn")
    table = made.table.copy()
    table[3, 1] += 10**9
    np.save(made.folder / entry.TABLE, table)
    assert entry.read(made.folder) is None


KILLED = """
import os, signal, sys
from pathlib import Path
from training.data.cache import decoding
from training.data.cache.build import Cache, Estimate
from training.data.cache.storing import Storing

decoding.CHUNK_IMAGES = 4
decode = decoding._Part.decode

def decoded(part, paths, first):
    if first:
        os.kill(os.getpid(), signal.SIGKILL)
    return decode(part, paths, first)

decoding._Part.decode = decoded
Cache(Storing(500), Path(sys.argv[1])).build([Path(p) for p in sys.argv[2:]], "drawn")
"""


def test_a_killed_process_leaves_nothing_that_is_used(files: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", KILLED, str(folder), *map(str, files)]
    assert subprocess.run(command, cwd=root, check=False).returncode == -signal.SIGKILL
    (left,) = listed(folder)
    assert left.unfinished
    assert not left.writing
    assert cache(tmp_path).existing(files) is None
    made = cache(tmp_path).build(files, "drawn")
    assert [one.folder for one in listed(folder)] == [made.folder]  # leftovers are removed


def test_what_another_process_writes_is_left_alone(files: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    writing = cache_folder.unfinished(folder, "0" * 16)  # this process is alive
    cache(tmp_path).build(files, "drawn")
    assert writing.is_dir()
    assert len(cache_folder.clean(folder, [])) == 1
    assert [one.folder for one in listed(folder)] == [writing]


def test_data_that_do_not_fit_are_refused_and_nothing_stays(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = cache(tmp_path, limit=10 * IMAGE_BYTES)
    with pytest.raises(DataError, match=r"0\.1 MiB; the limit is 0\.0 MiB \(--cache-limit\)"):
        small.build(files, "drawn")
    monkeypatch.setattr(Cache, "estimate", lambda *_: Estimate(0, 0))  # a sample that promised less
    with pytest.raises(DataError, match=r"more than the cache may hold: .*--cache-limit"):
        small.build(files, "drawn")
    assert listed(tmp_path / "cache") == []


def test_a_full_disk_is_said(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(cache_folder.shutil, "disk_usage", lambda _: free)
    with pytest.raises(DataError, match=r"the disk of .* has 0\.0 MiB left: .*--cache-folder"):
        cache(tmp_path).build(files, "drawn")
    assert listed(tmp_path / "cache") == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_disk_that_fills_up_is_said(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "part_name", lambda _: "/dev/full")
    with pytest.raises(OutOfResources, match=r"No space left on device; .* --cache-folder"):
        cache(tmp_path).build(files, "drawn")
    assert listed(tmp_path / "cache") == []


def test_the_entries_not_used_for_longest_make_room(files: list[Path], tmp_path: Path) -> None:
    limit = 3 * 12 * IMAGE_BYTES  # table and facts count too: two entries fit
    first = cache(tmp_path, 100, limit).build(files, "drawn").folder
    second = cache(tmp_path, 101, limit).build(files, "drawn").folder
    os.utime(second / entry.FACTS, (1, 1))
    lines: list[str] = []
    third = cache(tmp_path, 102, limit).build(files, "drawn", lines.append).folder
    assert {one.folder for one in listed(tmp_path / "cache")} == {first, third}
    assert f"removed {second} " in lines[0]
    assert "--cache-limit" in lines[0]


def test_the_command_lists_and_cleans(files: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    made = cache(tmp_path).build(files, "drawn")
    other = cache(tmp_path, 32).build(files, "drawn")
    (folder / "notes.txt").write_text("mine")
    (folder / "mine").mkdir()
    option = ["--cache-folder", str(folder)]
    rows = json.loads(CliRunner().invoke(cli.app, ["cache", "list", "--json", *option]).stdout)
    assert {row["key"] for row in rows} == {made.folder.name, other.folder.name}
    assert {(row["images"], row["state"], row["data"]) for row in rows} == {
        (12, "complete", "drawn")
    }
    text = CliRunner().invoke(cli.app, ["cache", "list", *option]).stdout
    assert f"{made.folder.name}  0.1 MiB  complete  12 images  drawn" in text
    wrong = CliRunner().invoke(cli.app, ["cache", "clean", "0123", *option])
    assert isinstance(wrong.exception, SystemExit)
    assert wrong.exit_code == 2
    done = CliRunner().invoke(cli.app, ["cache", "clean", made.folder.name, *option])
    assert done.stdout == f"{made.folder}\n"
    assert [one.folder for one in listed(folder)] == [other.folder]
    assert CliRunner().invoke(cli.app, ["cache", "clean", *option]).exit_code == 0
    assert sorted(path.name for path in folder.iterdir()) == ["mine", "notes.txt"]
    with pytest.raises(UsageError, match="no entry"):
        cache_folder.clean(folder, [made.folder.name])


def test_a_folder_that_cannot_be_written_is_said(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(OutOfResources, match=r"cache cannot be written: .*--cache off"):
        cache(tmp_path).build(files, "drawn")
