"""Sources in remote storage: each storage has its own errors, and none of them is a traceback."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from typer.testing import CliRunner

from service.cli import app
from service.errors import UsageError
from service.scoring.resume.trace import load
from service.scoring.sources import expand
from tests.support.images import coloured, encoded
from tests.support.scoring import write_tar


class StorageError(Exception):
    """As of many libraries: it is no OSError."""


class FaultyFile:
    """A file that breaks off after `GIVEN` bytes."""

    GIVEN = 600

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        left = self.GIVEN - self._stream.tell()
        if size < 0 or size > left:
            raise StorageError("the connection was lost")
        return self._stream.read(size)

    def read1(self, size: int = -1) -> bytes:
        return self.read(size)

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Faulty(MemoryFileSystem):
    """Fails on every path with `forbidden`, and in the middle of every file with `cut`."""

    protocol = "faulty"
    store: ClassVar[dict[str, Any]] = {}

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol("memory://" + path.removeprefix("faulty://"))

    def info(self, path: str, **kwargs: Any) -> Any:
        self._check(path)
        return super().info(path, **kwargs)

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> Any:
        self._check(path)
        return super().ls(path, detail, **kwargs)

    def isdir(self, path: str) -> bool:
        self._check(path)
        return super().isdir(path)

    def isfile(self, path: str) -> bool:
        self._check(path)
        return super().isfile(path)

    def open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        self._check(path)
        stream: Any = super().open(path, mode, **kwargs)
        return FaultyFile(stream) if "cut" in path and mode == "rb" else stream

    def _check(self, path: str) -> None:
        if "forbidden" in path:
            raise StorageError("no permission")


@pytest.fixture
def storage() -> Iterator[Any]:
    fsspec.register_implementation("faulty", Faulty, clobber=True)
    yield fsspec.filesystem("faulty")
    Faulty.store.clear()


IMAGE = encoded(coloured("red", 90, 110, seed=0))


@pytest.mark.parametrize(
    "source",
    ["forbidden", "forbidden/a.png", "forbidden/*.csv", "forbidden.tar", "forbidden.csv"],
)
def test_a_storage_that_cannot_be_asked_is_one_line(storage: Any, source: str) -> None:
    with pytest.raises(UsageError, match=r"^faulty://.*StorageError: no permission$"):
        expand([f"faulty://{source}"])


@pytest.mark.parametrize("url", ["s3x://b/a.png", "s3x://b", "s3x://b/*.png", "s3x://b/a.tar"])
def test_an_unknown_storage_is_one_line(url: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["score", url, "-o", str(tmp_path / "out.csv")])
    assert result.exit_code == 2
    assert "cannot be opened: Protocol not known: s3x" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_file_that_breaks_off_is_an_error_of_its_image(storage: Any) -> None:
    storage.pipe("/photos/cut.png", IMAGE)
    storage.pipe("/photos/whole.png", IMAGE)
    (source,) = expand(["faulty://photos"])
    cut, whole = (load(item) for item in source.items())
    assert cut.error == (
        "OSError: faulty://photos/cut.png cannot be read: StorageError: the connection was lost"
    )
    assert whole.error is None
    assert whole.data == IMAGE


def test_an_archive_that_breaks_off_keeps_the_images_before(storage: Any, tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", [("0.png", IMAGE), ("1.png", IMAGE)])
    storage.pipe("/cut.tar", tar.read_bytes())
    (source,) = expand(["faulty://cut.tar"])
    errors = [item.error for item in source.items()]
    assert errors[-1] is not None
    assert "StorageError: the connection was lost" in errors[-1]


def test_a_list_that_breaks_off_is_refused(storage: Any) -> None:
    storage.pipe("/cut.csv", b"path\n" + b"a.png\n" * 1000)
    storage.pipe("/cut.txt", b"a.png\n" * 1000)
    for name in ("cut.csv", "cut.txt"):
        with pytest.raises(UsageError, match="the connection was lost"):
            expand([f"faulty://{name}"])


def test_a_question_mark_in_a_web_address_is_no_wildcard(monkeypatch: pytest.MonkeyPatch) -> None:
    from service.scoring import sources
    from service.scoring.sources import folder

    monkeypatch.setattr(sources, "is_folder", lambda path: False)
    monkeypatch.setattr(folder, "is_file", lambda path: True)
    monkeypatch.setattr(folder, "is_folder", lambda path: True)
    for address in ("http://h/a.jpg?token=[1]*", "https://[::1]:80/a.jpg", "HTTPS://h?x=a/b"):
        (source,) = expand([address])
        assert [item.path for item in source.items()] == [address]
    (source,) = expand(["http://h/*.jpg"])
    assert type(source).__name__ == "Glob"
