"""Folders that cannot be written are found before hours of work, and a full disk is one line."""

import errno
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service import cli
from service.commands import doctor
from service.errors import UsageError
from service.replacing import check_writable
from training.export.writer import check_replaceable


def test_a_new_folder_below_a_writable_one_is_fine(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b")
    check_replaceable(tmp_path / "models" / "new", overwrite=False)
    assert not [*tmp_path.iterdir()]


def test_a_file_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "models").write_bytes(b"")
    with pytest.raises(UsageError, match=r"models cannot be made: .*models is not a folder"):
        check_replaceable(tmp_path / "models" / "new", overwrite=False)


def test_a_folder_that_is_read_only_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(UsageError, match="is not writable for this user"):
        check_replaceable(tmp_path / "models" / "new", overwrite=False)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_full_disk_ends_a_command_with_one_line(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code), "models/new/model.onnx")

    monkeypatch.setattr(cli, "load", lambda _: doctor_that(failing))
    done = CliRunner().invoke(cli.app, ["doctor"])
    assert done.exit_code == 1
    assert "quincunx: error: models/new/model.onnx cannot be written" in done.output


def doctor_that(run: object) -> object:
    """The command doctor, with another body."""
    import typer

    command = typer.main.get_command(doctor.app)
    command.callback = run  # type: ignore[assignment]
    return command
