"""Files that change while they are read, or whose storage keeps no times."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from service.errors import DataError, OutOfResources
from service.scoring.item import Item
from service.scoring.resume import stamps
from service.scoring.resume.stamps import read_stamped, same_bytes, stamp
from service.scoring.resume.trace import items_of, load


def test_any_write_changes_the_stamp(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"one")
    before, times = stamp(str(path)), path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert stamp(str(path)) != before
    assert stamp(f"file://{path}") == stamp(str(path))


def test_another_link_is_no_other_content(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"one")
    before = stamp(str(path))
    os.link(path, tmp_path / "b.png")
    assert same_bytes(before, stamp(str(path)))
    path.write_bytes(b"longer")
    assert not same_bytes(before, stamp(str(path)))


def test_a_link_to_another_file_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two files of one size, made in the same tick of the clock."""
    link = tmp_path / "link.png"
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(name.encode())
    original = os.stat

    def at_one_time(path: Any, **named: Any) -> os.stat_result:
        found = original(path, **named)
        times = {"st_mtime_ns": 5, "st_ctime_ns": 5}
        return SimpleNamespace(st_mode=found.st_mode, st_size=5, st_ino=found.st_ino, **times)  # type: ignore[return-value]

    monkeypatch.setattr("service.scoring.resume.stamps.os.stat", at_one_time)
    link.symlink_to("a.png")
    before = stamp(str(link))
    link.unlink()
    link.symlink_to("b.png")
    assert stamp(str(link)) != before


@pytest.mark.parametrize("name", ["-", "nowhere", "", "\0", "memory://nowhere/a.png", "bad://a"])
def test_what_is_no_file_has_no_stamp(name: str) -> None:
    assert stamp(name) is None


def test_folders_have_no_stamp_and_remote_files_one_with_a_validator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    url = f"memory://{tmp_path.name}/a.png"
    memory.pipe_file(url, b"one")
    assert stamp(str(tmp_path)) is None
    assert stamp(url) is None  # this storage says nothing that changes with the content
    info: dict[str, Any] = memory.info(url)
    monkeypatch.setattr(memory, "info", lambda path: {**info, "ETag": "a"})
    before = stamp(url)
    assert before is not None
    monkeypatch.setattr(memory, "info", lambda path: {**info, "ETag": "b"})
    assert not same_bytes(before, stamp(url))


def test_a_file_that_settles_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, opened = tmp_path / "a.png", 0
    path.write_bytes(b"first")
    original = stamps.open_binary

    def open_binary(name: str) -> Any:
        nonlocal opened
        opened += 1
        stream = original(name)
        if opened == 1:
            read = stream.read

            class Torn:
                """Reads the start of one version, while another is written."""

                def __enter__(self) -> "Torn":
                    return self

                def __exit__(self, *_: object) -> None:
                    stream.close()

                def fileno(self) -> int:
                    return stream.fileno()

                def read(self, size: int) -> bytes:
                    data = read(2)
                    path.write_bytes(b"the second")
                    return data

            return Torn()
        return stream

    monkeypatch.setattr(stamps, "open_binary", open_binary)
    assert read_stamped(str(path)) == (b"the second", stamp(str(path)))


def test_a_file_that_never_settles_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"first")
    monkeypatch.setattr(stamps, "same_bytes", lambda before, after: False)
    loaded = load(Item(str(path)))
    assert loaded.error == "OSError: the file changed while it was read, 3 times"


@dataclass(frozen=True)
class Shard:
    """A source of one file that `change` alters while it is read."""

    name: str
    change: Any

    def check(self) -> None: ...

    def count(self) -> int | None: ...

    def items(self, skip: int = 0) -> Iterator[Item]:
        yield Item("0.png", data=b"a")
        self.change()
        yield Item("1.png", data=b"b")


def test_an_archive_that_changes_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "shard.tar"
    path.write_bytes(b"one")
    same = list(items_of(Shard(str(path), lambda: None)))
    assert [item.stamp for item in same] == [stamp(str(path))] * 2
    with pytest.raises(DataError, match=r"shard\.tar changed while it was read.*--restart"):
        list(items_of(Shard(str(path), lambda: path.write_bytes(b"another"))))
    gone = Shard(str(path), path.unlink)  # what is open can be read to its end
    assert len(list(items_of(gone))) == 2


def test_a_machine_without_open_files_is_no_broken_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(24, "Too many open files")

    path = tmp_path / "a.png"
    path.write_bytes(b"one")
    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(OutOfResources, match=r"Too many open files; .*ulimit -n"):
        load(Item(str(path)))


@pytest.mark.parametrize("name", ["a\0b.png", "nowhere.png", "\udce9.png"])
def test_a_file_that_cannot_be_opened_is_an_answer(name: str) -> None:
    loaded = load(Item(name))
    assert loaded.error is not None
    assert len(loaded.trace.content) == 32
