"""A path that is no regular file is refused, and a pipe makes nobody wait."""

import os
from pathlib import Path

import pytest

from service.opening import NotRegular, at_once, open_regular


def test_a_file_and_a_link_to_it_are_read(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_bytes(b"content")
    link.symlink_to(file)
    for path in (file, link):
        with open_regular(path) as stream:
            assert stream.read() == b"content"
    with pytest.raises(OSError, match="link"):
        open_regular(link, follow=False)


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(NotRegular, match="pipe is not a regular file"):
        open_regular(pipe)
    with pytest.raises(OSError, match="pipe"), open(pipe, "ab", opener=at_once):
        pass  # nobody reads it


def test_a_folder_and_a_missing_file_are_errors(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(OSError, match=path.name):
            open_regular(path)
