"""A file is replaced whole or not at all."""

from pathlib import Path

import pytest

from service.replacing import replaced_by, replacing_file


def test_the_new_content_appears_at_the_end_of_the_block(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(b"old")
    with replacing_file(path) as stream:
        stream.write(b"new")
        stream.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_keeps_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(b"old")

    def interrupted() -> None:
        with replacing_file(path) as stream:
            stream.write(b"half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_at_a_time_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    with replacing_file(path) as first:
        first.write(b"fir")
        with replacing_file(path) as second:
            second.write(b"second")
        assert path.read_bytes() == b"second"
        first.write(b"st")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_of_a_killed_writer_is_known_by_its_name(tmp_path: Path) -> None:
    names: list[str] = []
    with replacing_file(tmp_path / "file.json"):
        names += [replaced_by(path.name) or "" for path in tmp_path.iterdir()]
    assert names == ["file.json"]
    assert replaced_by("file.json.tmp") == "file.json"  # of an older version
    assert replaced_by("file.json") is None
