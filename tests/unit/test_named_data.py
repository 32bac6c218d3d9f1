"""Data sets by name: resolved, unpacked safely, and refused clearly when there is no network."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service import cli
from service.errors import DataError
from tests.support.dataset import drawn_dataset
from training.data import named_data
from training.data.dataset import scan
from training.data.named_data import located

# fastcore leaves its new config file to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder of its own for what is downloaded: fastai reads once where that is."""
    from fastai.data.external import fastai_cfg

    monkeypatch.setenv("FASTAI_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    fastai_cfg.cache_clear()
    yield
    fastai_cfg.cache_clear()


def offered(monkeypatch: pytest.MonkeyPatch, archive: Path) -> None:
    """Have fastai's URL of imagenette lead to a file."""
    from fastai.data.external import URLs

    monkeypatch.setattr(URLs, "IMAGENETTE_160", archive.as_uri())


def test_every_name_is_one_of_fastais() -> None:
    from fastai.data.external import URLs

    for entry in named_data.NAMES.values():
        assert getattr(URLs, entry).endswith(".tgz")


def test_a_name_is_downloaded_and_unpacked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn_dataset(tmp_path / "imagenette2-160", train=2, val=1)
    archive = tmp_path / "imagenette2-160.tgz"
    with tarfile.open(archive, "w:gz") as made:
        made.add(tmp_path / "imagenette2-160", "imagenette2-160")
    offered(monkeypatch, archive)
    folder = located(Path("imagenette"))
    assert tmp_path / "home" in folder.parents
    assert len(scan(folder / "train")) == 6
    archive.unlink()
    assert located(Path("imagenette")) == folder


def test_a_folder_of_that_name_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offered(monkeypatch, tmp_path / "never.tgz")
    (tmp_path / "imagenette").mkdir()
    assert located(Path("imagenette")) == Path("imagenette")
    assert located(Path("some/folder")) == Path("some/folder")


def test_without_a_network_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered(monkeypatch, tmp_path / "gone.tgz")
    with pytest.raises(DataError, match="offline, name a folder or a table instead") as caught:
        located(Path("imagenette"))
    assert "gone.tgz" in str(caught.value)
    arguments = ["show-batch", "imagenette", "--recipe", "small-cpu"]
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 1
    assert "cannot be downloaded from" in result.stderr


@pytest.mark.parametrize("kind", ["above", "absolute", "link"])
def test_an_archive_cannot_write_outside_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    target = tmp_path / "outside.txt"
    archive = tmp_path / "evil.tgz"
    with tarfile.open(archive, "w:gz") as made:
        if kind == "link":
            member = tarfile.TarInfo("evil/link")
            member.type, member.linkname = tarfile.SYMTYPE, str(tmp_path)
            made.addfile(member)
        name = {"above": "../../../../outside.txt", "absolute": str(target)}.get(
            kind, "evil/link/outside.txt"
        )
        member = tarfile.TarInfo(name)
        member.size = 4
        made.addfile(member, io.BytesIO(b"evil"))
    offered(monkeypatch, archive)
    if kind == "absolute":  # its leading slash is dropped: it lands inside
        located(Path("imagenette"))
    else:
        with pytest.raises(DataError):
            located(Path("imagenette"))
    assert not target.exists()
    assert tarfile.TarFile.__dict__.get("extraction_filter") is None
