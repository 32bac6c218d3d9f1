"""Summaries and reports name what in the package made their answers."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service import cli
from service.package.package import ModelPackage
from service.package.recorded.settings import lines
from tests.support.images import coloured, encoded
from tests.support.packages import edit_manifest
from tests.support.tiny import tiny_package
from training.data.item import Item
from training.evaluation.evaluate import evaluate
from training.evaluation.report import write_report


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    for name in ("red", "green"):
        path = tmp_path / "data" / name / f"{name}.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(encoded(coloured(name)))
    folder = tiny_package(tmp_path / "tiny")
    size = {"crop_px": 64, "resize_px": 96, "decode": "scaled", "decode_factor": 2}
    edit_manifest(folder, lambda content: content["input"].update(size))
    return folder


def scored(folder: Path, report: str, *options: str) -> str:
    where = folder.parent
    command = ["score", str(where / "data"), "--model", str(folder), "-o", str(where / "out.csv")]
    command += ["--report", str(where / report), "--overwrite", *options]
    done = CliRunner().invoke(cli.app, command)
    assert done.exit_code == 0, done.output
    return (where / report).read_text()


def test_the_summary_of_score(folder: Path) -> None:
    package = ModelPackage.load(folder)
    summary = json.loads(scored(folder, "r.json", "--tta", "adaptive", "--gate-cost", "1.7"))
    settings = summary["settings"]
    assert settings["manifest_sha256"] == package.manifest_sha256
    assert settings["input"] == package.manifest.input.model_dump()
    assert settings["gate"] == {
        "kind": "probability", "threshold": 0.9, "expected_cost": 1.6, "second": "dense",
    }  # fmt: skip
    assert summary["options"]["gate_cost"] == 1.7
    plain = json.loads(scored(folder, "r.json", "--tta", "five_crop", "--aggregate", "max"))
    assert plain["settings"]["gate"] is None
    assert plain["options"]["aggregate"] == "max"


def test_the_report_of_score(folder: Path) -> None:
    text = scored(folder, "r.md", "--tta", "adaptive", "--gate-cost", "1.7")
    digest = ModelPackage.load(folder).manifest_sha256
    assert f"manifest sha256 {digest[:12]}" in text
    assert "at least 2 times the size" in text
    assert (
        "probability is at least 0.9, and otherwise runs dense (expected cost 1.60 crops)" in text
    )
    assert "Options: gate_cost 1.7" in text.replace("\\", "")
    assert "Options:" not in scored(folder, "r.md", "--tta", "none")


def test_the_report_of_evaluate(folder: Path, tmp_path: Path) -> None:
    items = [Item(path, path.parent.name) for path in sorted((tmp_path / "data").rglob("*.png"))]
    measured = evaluate(folder, items, ["none", "adaptive"])
    text = write_report(folder, measured, tmp_path / "report").read_text()
    package = ModelPackage.load(folder)
    assert f"manifest sha256 {package.manifest_sha256[:12]}" in text
    for line in lines(package, ["fp32", "int8"]):
        assert line in text.replace("\\", "")
    assert "- int8: adaptive trusts its first pass if probability is at least 0.7" in text
