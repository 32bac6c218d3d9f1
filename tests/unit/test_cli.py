"""The command line's frame: quick help, lazy commands, errors as one line and an exit code."""

import json
import os
import subprocess
import sys
import tomllib
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from service import cli
from service.errors import DataError, ImageTooSmall, UsageError
from tests.support.images import coloured, encoded
from tests.support.shipped import ROOT
from training.commands.calibrate import TOLERANCE, _budgets, _most

HEAVY = ("onnxruntime", "numpy", "bentoml", "torch", "fastai", "pydantic", "PIL", "training")

run = CliRunner().invoke


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception | type[BaseException]], None]:
    """Put a command `fails` into the table that raises what it is given."""

    def install(error: Exception | type[BaseException]) -> None:
        module = types.ModuleType("fails")
        app = typer.Typer()

        @app.command()
        def fails() -> None:
            raise error

        module.__dict__["app"] = app
        monkeypatch.setitem(sys.modules, "fails", module)
        monkeypatch.setitem(cli.COMMANDS, "fails", ("fails", "Fails."))

    return install


def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from service.cli import main\n"
        "sys.argv = ['quincunx', '--help']\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        f"print('HEAVY', [name for name in {HEAVY} if name in sys.modules])"
    )
    wide = {**os.environ, "COLUMNS": "100"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=wide
    )
    assert "HEAVY []" in done.stdout
    for name, (_, summary) in cli.COMMANDS.items():
        assert name in done.stdout
        assert summary in done.stdout


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help(name: str) -> None:
    result = run(cli.app, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert "install-completion" not in result.stdout


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UsageError("no such mode"), 2, "quincunx: error: no such mode\n"),
        (DataError("no images"), 1, "quincunx: error: no images\n"),
        (ImageTooSmall("too small"), 1, "quincunx: error: too small\n"),
        (
            ModuleNotFoundError("No module named 'torch'", name="torch"),
            1,
            "quincunx: error: torch is not installed: pip install 'quincunx[train]'\n",
        ),
        (
            ModuleNotFoundError("No module named 'fastai.x'", name="fastai.x"),
            1,
            "quincunx: error: fastai is not installed: pip install 'quincunx[train]'\n",
        ),
        (KeyboardInterrupt, 130, ""),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    command: Callable[[object], None], error: object, code: int, line: str
) -> None:
    command(error)
    result = run(cli.app, ["fails"])
    assert (result.exit_code, result.stderr, result.stdout) == (code, line, "")


@pytest.mark.parametrize(
    "error", [ValueError("a bug"), ModuleNotFoundError("typo", name="service.typo")]
)
def test_a_bug_keeps_its_traceback(command: Callable[[object], None], error: Exception) -> None:
    command(error)
    assert run(cli.app, ["fails"]).exception is error


def test_a_typo_is_answered_with_the_command_meant() -> None:
    result = run(cli.app, ["clasify"])
    assert result.exit_code == 2
    assert "classify" in result.stderr


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            ["classify", "a.jpg", "--coverage", "3"],
            "'--coverage': it must be at most 1, but got '3'",
        ),
        (["serve", "--port", "x"], "'--port': it must be a whole number, but got 'x'"),
        (["score", "a", "-o", "b.csv", "--top-k", "0"], "it must be at least 1, but got '0'"),
        (["classify", "a.jpg", "--tta", "fivecrop"], "Did you mean 'five_crop'?"),
    ],
)
def test_a_wrong_value_of_an_option_is_named(call: list[str], message: str) -> None:
    result = run(cli.app, call)
    assert result.exit_code == 2
    assert message in result.stderr


def test_version() -> None:
    result = run(cli.app, ["--version"])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (result.exit_code, result.stdout) == (0, f"quincunx {project['version']}\n")


def test_classify_answers_the_readable_files_and_reports_the_other(
    package: Path, tmp_path: Path
) -> None:
    good, bad = tmp_path / "red.png", tmp_path / "bad.png"
    good.write_bytes(encoded(coloured("red")))
    bad.write_bytes(b"no image")
    files = [str(bad), str(good), str(tmp_path / "gone.png")]
    result = run(cli.app, ["classify", *files, "--model", str(package), "--json", "--top-k", "2"])
    assert result.exit_code == 1
    first, second, third = json.loads(result.stdout)
    assert "error" in first
    assert third == {"file": files[2], "error": "No such file or directory"}
    assert second["tta"] == "five_crop"
    assert second["predictions"][0]["label"] == "red"
    assert len(second["predictions"]) == 2
    assert f"quincunx: {bad}: " in result.stderr

    table = run(cli.app, ["classify", str(good), "--model", str(package), "--tta", "dense"])
    assert table.exit_code == 0
    assert "Red" in table.stdout


def test_classify_takes_the_options_of_an_image(package: Path, tmp_path: Path) -> None:
    photo = tmp_path / "red.png"
    photo.write_bytes(encoded(coloured("red")))
    call = ["classify", str(photo), "--model", str(package), "--tta", "five_crop"]
    asked = run(cli.app, [*call, "--coverage", "0.9", "--aggregate", "max", "--json"])
    (row,) = json.loads(asked.stdout)
    assert row["tta"] == "five_crop"
    assert "red" in row["prediction_set"]
    table = run(cli.app, [*call, "--coverage", "0.9"])
    assert "prediction set" in table.stdout
    assert "prediction set" not in run(cli.app, call).stdout
    assert run(cli.app, [*call, "--coverage", "2"]).exit_code == 2
    boxed = run(cli.app, [*call[:-1], "custom", "--box", "0,0,1,1", "--json"])
    assert json.loads(boxed.stdout)[0]["tta"] == "custom"


def test_classify_points_to_score_for_a_folder(package: Path, tmp_path: Path) -> None:
    folder, photo = tmp_path / "my photos", tmp_path / "red.png"
    folder.mkdir()
    photo.write_bytes(encoded(coloured("red")))
    files = [str(folder), str(photo)]
    result = run(cli.app, ["classify", *files, "--model", str(package), "--json"])
    assert result.exit_code == 1
    assert f"quincunx score '{folder}' --output answers.csv" in result.stderr
    assert json.loads(result.stdout)[1]["predictions"][0]["label"] == "red"


def test_a_package_is_found_by_its_name_in_models(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "own").symlink_to(package)
    monkeypatch.chdir(tmp_path)
    shown = run(cli.app, ["models", "show", "own", "--json"])
    assert [label["id"] for label in json.loads(shown.stdout)["labels"]] == ["red", "green", "blue"]
    assert "models/own: ok" in run(cli.app, ["models", "verify", "own"]).stdout
    gone = run(cli.app, ["models", "show", "gone"])
    assert (gone.exit_code, gone.stdout) == (1, "")
    assert "no model package in gone" in gone.stderr
    (tmp_path / "own").mkdir()  # a folder of that name comes first
    assert "no model package in own" in run(cli.app, ["models", "show", "own"]).stderr


def test_classes_of_one_name_are_told_apart(tmp_path: Path) -> None:
    from tests.support.packages import edit_manifest
    from tests.support.tiny import tiny_package

    folder = tiny_package(tmp_path / "tiny", int8=False)

    def rename(content: dict[str, Any]) -> None:
        for label in content["labels"][:2]:
            label["name"] = "crane"

    edit_manifest(folder, rename)
    photo = tmp_path / "red.png"
    photo.write_bytes(encoded(coloured("red")))
    table = run(cli.app, ["classify", str(photo), "--model", str(folder)]).stdout
    assert "crane (red)" in table
    assert "crane (green)" in table
    assert (
        "crane (red), crane (green), Blue" in run(cli.app, ["models", "show", str(folder)]).stdout
    )


def test_models_list_show_verify(package: Path) -> None:
    rows = json.loads(run(cli.app, ["models", "list", str(package.parent), "--json"]).stdout)
    assert [row["path"] for row in rows] == [str(package)]
    assert rows[0]["precisions"] == ["fp32", "int8"]
    shown = json.loads(run(cli.app, ["models", "show", str(package), "--json"]).stdout)
    assert [label["id"] for label in shown["labels"]] == ["red", "green", "blue"]
    assert "five_crop" in run(cli.app, ["models", "show", str(package)]).stdout
    verified = run(cli.app, ["models", "verify", str(package)])
    assert verified.exit_code == 0
    assert ": ok (" in verified.stdout


def test_models_verify_names_the_altered_file(tmp_path: Path) -> None:
    from tests.support.tiny import tiny_package

    folder = tiny_package(tmp_path / "tiny")
    (graph,) = folder.glob("model.onnx")
    graph.write_bytes(graph.read_bytes() + b"\0")
    verified = run(cli.app, ["models", "verify", str(folder)])
    assert verified.exit_code == 1
    assert f"{graph} was altered" in verified.stdout
    listed = run(cli.app, ["models", "list", str(tmp_path), "--json"])
    assert listed.exit_code == 1
    assert "was altered" in json.loads(listed.stdout)[0]["error"]


def test_no_package_is_an_error_not_a_traceback(tmp_path: Path) -> None:
    result = run(cli.app, ["models", "show", str(tmp_path)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"quincunx: error: no model package in {tmp_path}")


def test_a_table_in_a_pipe_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.table import Table

    from service.console.terminal import console

    cells = [f"cell number {column} of one long row" for column in range(8)]
    table = Table(*(str(column) for column in range(8)))
    table.add_row(*cells)
    console().print(table)
    lines = capsys.readouterr().out.splitlines()
    assert any(all(cell in line for cell in cells) for line in lines)
    assert len(lines) == 5


def test_a_budget_is_for_every_precision_or_for_one() -> None:
    assert _budgets([]) == {}
    assert _budgets(["fp32=1.25", "1.4"]) == {"fp32": 1.25, "fp16": 1.4, "int8": 1.4}
    for wrong in ("cheap", "int4=1.4", "int8=", "0", "inf"):
        with pytest.raises(UsageError, match=r"--adaptive-cost .* as in int8=1\.4"):
            _budgets([wrong])


def test_the_highest_cost_of_adaptive_is_a_number_of_crops() -> None:
    assert _most(None, []) == _most(None, ["0.8"]) == TOLERANCE.cost == 1.15
    assert _most(1.0, []) == 1.0
    assert _most(2.5, []) == 2.5
    for wrong in (0.99, -1.0, float("inf"), float("nan")):
        with pytest.raises(UsageError, match=r"--max-adaptive-cost .* at least 1, .*--adaptive-co"):
            _most(wrong, [])
    with pytest.raises(UsageError, match="--max-adaptive-cost or --adaptive-cost"):
        _most(1.1, ["1.4"])
