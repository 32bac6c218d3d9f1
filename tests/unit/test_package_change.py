"""After a change, manifest, metrics and card of a package agree; or nothing has changed."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from typer.testing import CliRunner

from service import cli
from service.errors import ModelPackageError, UsageError
from service.package.card.compare import compare
from service.package.card.document import CARD, OLD_CARD, render, write_model_card
from service.package.manifest import Manifest
from service.package.package import ModelPackage
from service.package.verify import check_statements
from tests.support.images import COLOURS, coloured, encoded
from tests.support.measured import record, with_metrics
from tests.support.tiny import tiny_package
from training.export import change
from training.export.change import changeable, write_change
from training.export.writer import write_manifest


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    return record(tiny_package(tmp_path / "tiny"))


def hotter(manifest: Manifest) -> Manifest:
    entries = [one.model_copy(update={"temperature": 2.5}) for one in manifest.calibration]
    return manifest.model_copy(update={"calibration": tuple(entries)})


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_card_is_written_again_and_stale_metrics_go(folder: Path) -> None:
    said: list[str] = []
    read = ModelPackage.load(folder)
    written = write_change(read, hotter(read.manifest), said.append)
    after = ModelPackage.load(folder)
    assert after.manifest == written
    assert (folder / CARD).read_text() == render(written)
    assert "| int8 | none | 90.00% (85.00% to 95.00%) |  |  | 100 |" in render(written)
    assert "The accuracy still holds" in render(written)
    assert not any(row.mode == "adaptive" for row in written.metrics)
    assert any("metrics dropped" in line and "int8 adaptive" in line for line in said)
    check_statements(after)


def test_an_error_before_the_end_leaves_the_old_package(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, read = files_of(folder), ModelPackage.load(folder)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(change.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_change(read, hotter(read.manifest), print, files={"unknown-1.npy": b"new"})
    assert files_of(folder) == before


def test_a_kill_between_both_files_is_noticed_and_mended(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, replacing_file = ModelPackage.load(folder), change.replacing_file

    @contextmanager
    def killed(path: Path) -> Iterator[IO[bytes]]:
        with replacing_file(path) as stream:
            yield stream
            if path.name == CARD:
                raise KeyboardInterrupt  # after the manifest, which is the inner file

    monkeypatch.setattr(change, "replacing_file", killed)
    with pytest.raises(KeyboardInterrupt):
        write_change(read, hotter(read.manifest), print)
    after = ModelPackage.load(folder)
    assert after.manifest.calibration[0].temperature == 2.5
    with pytest.raises(ModelPackageError, match=r"MODEL_CARD\.md has .* but manifest\.json has"):
        check_statements(after)
    done = CliRunner().invoke(cli.app, ["models", "card", str(folder)])
    assert done.exit_code == 0
    check_statements(after)


def test_metrics_that_another_command_recorded_meanwhile_stay(tmp_path: Path) -> None:
    folder = tiny_package(tmp_path / "tiny")
    read = ModelPackage.load(folder)  # a calibration begins
    record(folder)  # and metrics are recorded before it ends
    write_change(read, read.manifest.model_copy(update={"default_mode": "dense"}), print)
    after = ModelPackage.load(folder).manifest
    assert after.default_mode == "dense"
    assert after.metrics == with_metrics(read.manifest).metrics


def test_another_change_meanwhile_is_not_lost(folder: Path) -> None:
    read = ModelPackage.load(folder)
    write_change(ModelPackage.load(folder), hotter(read.manifest), print)
    before = files_of(folder)
    with pytest.raises(UsageError, match="was changed by another command meanwhile"):
        write_change(read, read.manifest.model_copy(update={"version": "2"}), print)
    assert files_of(folder) == before


def test_text_that_a_user_wrote_into_the_card_is_kept(folder: Path) -> None:
    said: list[str] = []
    edited = (folder / CARD).read_text() + "\nOur own notes.\n"
    (folder / CARD).write_text(edited)
    check_statements(ModelPackage.load(folder))  # it contradicts nothing
    read = ModelPackage.load(folder)
    write_change(read, read.manifest.model_copy(update={"version": "2"}), said.append)
    assert (folder / OLD_CARD).read_text() == edited
    assert (folder / CARD).read_text() == render(ModelPackage.load(folder).manifest)
    assert any(OLD_CARD in line for line in said)


def test_a_copy_is_changed_instead_and_has_its_own_name(folder: Path, tmp_path: Path) -> None:
    before = files_of(folder)
    (folder / "notes.txt").write_text("mine")
    with changeable(folder, tmp_path / "other") as copy:
        read = ModelPackage.load(copy)
        write_change(read, hotter(read.manifest), print)
        assert not (tmp_path / "other").exists()
    (folder / "notes.txt").unlink()
    assert files_of(folder) == before
    other = ModelPackage.load(tmp_path / "other")
    assert other.manifest.name == "other"
    assert other.manifest.calibration[0].temperature == 2.5
    assert (other.folder / "notes.txt").read_text() == "mine"
    assert not (other.folder / OLD_CARD).exists()
    check_statements(other)
    with pytest.raises(UsageError, match="holds a model package"), changeable(folder, other.folder):
        pass
    with (
        pytest.raises(UsageError, match="goes with --out"),
        changeable(folder, None, overwrite=True),
    ):
        pass


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("# tiny, version 1", "# tiny, version 2", "is of tiny, version 2, but"),
        ("| 0.3000 | 0.0200 | 100 |", "| 0.2000 | 0.0200 | 100 |", "for NLL of fp32 none"),
        ("| int8 | dense | 1.250 |", "| int8 | dense | 1.350 |", "for temperature of int8 dense"),
        ("| int8 | adaptive | int8 none | 3 |", "| int8 | adaptive | int8 none | 4 |", "corrected"),
        ("| fp32 | none | 90.00%", "| fp32 | ten_crop | 90.00%", "of fp32"),
    ],
)
def test_a_card_that_says_something_else_is_named(
    folder: Path, old: str, new: str, message: str
) -> None:
    manifest = ModelPackage.load(folder).manifest
    card = render(manifest)
    assert compare(card, manifest) == ""
    assert old in card
    assert message in compare(card.replace(old, new, 1), manifest)


def test_a_card_with_rows_of_metrics_that_are_gone_is_named(folder: Path) -> None:
    manifest = ModelPackage.load(folder).manifest
    bare = manifest.model_copy(update={"metrics": ()})
    assert "but manifest.json has no row" in compare(render(manifest), bare)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# Unser Modell\n\nEin Modell für Farben.\n",
        "| precision | TTA | speed |\n| --- | --- | --- |\n| fp32 | none | fast |\n",
        "|\n||\n| precision |\n",
    ],
)
def test_a_card_of_a_users_own_says_nothing_else(folder: Path, text: str) -> None:
    assert compare(text, ModelPackage.load(folder).manifest) == ""


def test_models_verify_names_a_card_and_metrics_that_do_not_hold(folder: Path) -> None:
    verify = ["models", "verify", str(folder), "--json"]
    assert CliRunner().invoke(cli.app, verify).exit_code == 0
    write_manifest(folder, hotter(ModelPackage.load(folder).manifest))
    (found,) = json.loads(CliRunner().invoke(cli.app, verify).stdout)
    assert "were measured with another graph or calibration: fp32 none" in found["error"]
    manifest = ModelPackage.load(folder).manifest.model_copy(update={"metrics": ()})
    write_manifest(folder, manifest)
    done = CliRunner().invoke(cli.app, verify)
    assert done.exit_code == 1
    (found,) = json.loads(done.stdout)
    assert f"quincunx models card {folder} writes the card again" in found["error"]
    write_model_card(folder)
    assert CliRunner().invoke(cli.app, verify).exit_code == 0


def test_calibrate_writes_the_card_drops_metrics_and_can_write_elsewhere(
    folder: Path, tmp_path: Path
) -> None:
    names = list(COLOURS)
    for index in range(60):
        shown = names[(index + (index % 7 == 0)) % 3]
        path = tmp_path / "data" / names[index % 3] / f"{index:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(coloured(shown, 80 + index, 120, seed=index)))
    before, out = files_of(folder), tmp_path / "fitted"
    command = ["calibrate", str(folder), str(tmp_path / "data")]
    done = CliRunner().invoke(cli.app, [*command, "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert files_of(folder) == before
    assert "metrics dropped, because the answers changed: fp32 adaptive" in done.stderr
    assert "the version is still 1, but answers changed" in done.stderr
    check_statements(ModelPackage.load(out))
    done = CliRunner().invoke(cli.app, [*command, "--version", "2"])
    assert done.exit_code == 0, done.output
    here, there = ModelPackage.load(folder).manifest, ModelPackage.load(out).manifest
    assert here.calibration == there.calibration
    assert here.version == "2"
    assert (folder / CARD).read_text() == render(here)
    assert {row.nll for row in here.metrics} == {None}
