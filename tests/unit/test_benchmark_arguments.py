"""Benchmarks refuse wrong arguments with one line, before they measure anything."""

import importlib
import sys
from pathlib import Path

import pytest

from benchmarks.arguments import run_benchmark

ROOT = Path(__file__).parents[2]
PACKAGE = str(ROOT / "models" / "imagenette-xresnet18")
NONE = "no-such-folder"
WITHOUT_TORCH = ("decoding", "gpu", "peers", "performance", "scoring", "service", "session")
WITH_TORCH = ("answers", "imports", "small_data", "training")
WRONG = [
    (["gpu", PACKAGE, "--photos", NONE], NONE),
    (["gpu", NONE, "--photos", "."], NONE),
    (["gpu", PACKAGE, "--photos", ".", "--minutes", "0"], "--minutes"),
    (["gpu", PACKAGE, "--photos", ".", "--rounds", "0"], "--rounds"),
    (["peers", NONE], NONE),
    (["peers", PACKAGE, "--rounds", "0"], "--rounds: must be a whole number from 1, but got '0'"),
    (["peers", PACKAGE, "--seconds", "nan"], "--seconds: must be a positive number"),
    (["peers", PACKAGE, "--only", "quincunx,nobody"], "nobody: there are quincunx, fastapi"),
    (["performance", PACKAGE, "--images", NONE], NONE),
    (["performance", PACKAGE, "--threads", "-1"], "--threads"),
    (["scoring", "rate", PACKAGE, "--photos", NONE], NONE),
    (["scoring", "rate", PACKAGE, "--image-size", "9x9", "--images", "0"], "--images"),
    (["scoring", "rate", PACKAGE, "--image-size", "9x9", "--modes", "six"], "'six'"),
    (["scoring", "rate", PACKAGE, "--image-size", "9x9", "--precision", "fp9"], "'fp9'"),
    (["scoring", "base", PACKAGE, "--image-size", "9x9", "--base", "."], "no checkout"),
    (["service", NONE], NONE),
    (["service", PACKAGE, "--seconds", "0"], "--seconds"),
    (["service", PACKAGE, "--users", "0"], "--users"),
    (["service", PACKAGE, "--tta", "nothing"], "'nothing'"),
    (["service", PACKAGE, "intake", "--against", NONE], NONE),
    (["session", NONE], NONE),
    (["session", PACKAGE, "--rest-ms", "-1"], "--rest-ms"),
    (["decoding", "--sizes", "0x0"], "0x0"),
    (["decoding", "--crop-px", "300"], "--resize-px 192 is less than --crop-px 300"),
    (["decoding", "--base", NONE], NONE),
    (["answers", NONE], NONE),
    (["imports", "resnet18"], "'resnet18'"),
    (["imports", "timm:no_such_network"], "no_such_network"),
    (["small_data"], "--photos"),
    (["small_data", "--photos", "."], "train and val"),
    (["small_data", "--task", "shapes", "--images", "0"], "--images"),
    (["training", NONE], NONE),
    (["training", ".", "--steps", "0"], "--steps"),
    (["training", ".", "--recipe", "nothing"], "nothing"),
]


def ran(benchmark: str, *arguments: str) -> SystemExit:
    """How `python -m benchmarks.BENCHMARK ARGUMENTS` ends."""
    main = importlib.import_module(f"benchmarks.{benchmark}.__main__").main
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [benchmark, *arguments])
        with pytest.raises(SystemExit) as ended:
            run_benchmark(main)
    return ended.value


@pytest.mark.parametrize(("given", "named"), WRONG)
def test_wrong_arguments_are_one_line(
    given: list[str],
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    end = ran(*given)
    said = capsys.readouterr().err.strip() or str(end.code)
    assert named in said
    assert "\n" not in said
    assert end.code != 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("benchmark", [*WITHOUT_TORCH, *WITH_TORCH])
def test_the_help_shows_defaults_as_they_are_typed(
    benchmark: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(benchmark, "--help").code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "(default: [" not in text
    assert "(default: (" not in text
    assert str(ROOT) not in text
    if benchmark == "session":
        assert "(default: 10.0 100.0)" in text
