"""Unknown choices get the nearest known one; help and tables have no empty parts."""

from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from service import cli
from service.console.nearest import did_you_mean
from service.errors import UsageError
from service.package.card import tables as card_tables
from service.package.manifest import Mode
from service.package.package import ModelPackage
from tests.support.images import coloured, encoded
from tests.support.tiny import tiny_package
from training import recipe
from training.commands.evaluate import DEFAULT_MODES, answerable, chosen
from training.commands.options import recipe_names
from training.data.item import Item
from training.evaluation.evaluate import evaluate
from training.evaluation.report import write_report
from training.evaluation.terminal import single_label_table

run = CliRunner().invoke
MODES = ("none", "five_crop", "dense", "centre_dense")


@pytest.mark.parametrize(
    ("got", "meant"),
    [("fivecrop", "five_crop"), ("FIVE-CROP", "five_crop"), ("dens", "dense"), ("none ", "none")],
)
def test_a_near_miss_names_what_was_meant(got: str, meant: str) -> None:
    assert did_you_mean(got, MODES) == f"did you mean {meant!r}?"


def test_nothing_near_says_nothing() -> None:
    assert did_you_mean("zebra", MODES) == ""
    assert did_you_mean("x" * 10**6, MODES) == ""


def test_a_choice_of_an_option() -> None:
    near = run(cli.app, ["classify", "x.jpg", "--tta", "fivecrop"])
    assert near.exit_code == 2
    assert "'fivecrop' is not one of 'none', " in near.stderr
    assert near.stderr.rstrip().endswith("Did you mean 'five_crop'?")
    far = run(cli.app, ["classify", "x.jpg", "--tta", "zebra"])
    assert far.exit_code == 2
    assert "Did you mean" not in far.stderr
    number = run(cli.app, ["classify", "x.jpg", "--top-k", "x"])  # keeps its own message
    assert number.exit_code == 2
    assert "Invalid value for '--top-k': " in number.stderr


def test_a_recipe_and_a_mode_of_a_list() -> None:
    with pytest.raises(UsageError, match=r"no recipe 'small_cpu'; did you mean 'small-cpu'\?"):
        recipe.load("small_cpu")
    with pytest.raises(UsageError, match=r"got 'dens'; did you mean 'dense'\?"):
        chosen("none,dens", MODES, "tta")


@pytest.mark.parametrize(
    "command", [["train"], ["models", "show"], ["score"], ["bench", "latency"]]
)
def test_a_flag_is_shown_without_a_value(command: list[str]) -> None:
    shown = run(cli.app, [*command, "--help"])
    assert shown.exit_code == 0
    assert "<bool>" not in shown.stdout
    assert "-h, --help" in shown.stdout


def test_a_shell_completes_recipes() -> None:
    assert recipe_names("") == recipe.names()
    assert recipe_names("small") == ["small-cpu"]
    line = {"COMP_WORDS": "quincunx train DATA --recipe sm", "COMP_CWORD": "4"}
    done = run(
        cli.app, [], prog_name="quincunx", env={"_QUINCUNX_COMPLETE": "complete_bash"} | line
    )
    assert done.stdout.split() == ["small-cpu"]


def test_a_shell_completes_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_package(tmp_path / "models" / "own", int8=False)
    (tmp_path / "models" / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    line = {"COMP_WORDS": "quincunx classify x.jpg --model o", "COMP_CWORD": "4"}
    done = run(
        cli.app, [], prog_name="quincunx", env={"_QUINCUNX_COMPLETE": "complete_bash"} | line
    )
    assert done.stdout.split() == ["own"]


def test_adaptive_is_left_out_with_a_message(tmp_path: Path) -> None:
    manifest = ModelPackage.load(tiny_package(tmp_path / "tiny")).manifest
    lines: list[str] = []
    assert "adaptive" in answerable(DEFAULT_MODES, manifest, None, lines.append)
    assert lines == []
    bare = manifest.model_copy(update={"calibration": (), "adaptive": None})
    assert answerable(DEFAULT_MODES, bare, None, lines.append) == "none,five_crop,dense"
    (line,) = lines
    assert "without adaptive: " in line
    assert "quincunx calibrate" in line


def test_top_5_of_few_classes_is_left_out(tmp_path: Path) -> None:
    folder = tiny_package(tmp_path / "tiny", int8=False)
    photo = tmp_path / "red.png"
    photo.write_bytes(encoded(coloured("red")))
    modes: list[Mode] = ["none"]
    measured = evaluate(folder, [Item(photo, "red")], modes)
    console = Console(width=200)
    with console.capture() as captured:
        console.print(single_label_table(measured))
    assert "top-1" in captured.get()
    assert "top-5" not in captured.get()
    manifest = ModelPackage.load(folder).manifest
    card = card_tables.metrics(manifest.model_copy(update={"metrics": measured.metrics()}))
    assert "top-1" in card
    assert "top-5" not in card


@pytest.mark.parametrize(
    ("measured", "shown"),
    [
        (["none", "five_crop", "dense"], "five_crop"),  # the default mode
        (["none", "dense", "fastai_tta", "full_image"], "dense"),
        (["full_image"], "full_image"),
    ],
)
def test_the_plots_show_the_default_mode_or_one_that_is_served(
    tmp_path: Path, measured: list[Mode], shown: str
) -> None:
    folder = tiny_package(tmp_path / "tiny", int8=False)
    assert ModelPackage.load(folder).manifest.default_mode == "five_crop"
    photo = tmp_path / "red.png"
    photo.write_bytes(encoded(coloured("red")))
    found = evaluate(folder, [Item(photo, "red")], measured)
    text = write_report(folder, found, tmp_path / "report").read_text()
    assert f"## fp32, {shown}" in text
