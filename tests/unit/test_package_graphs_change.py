"""New graphs in a package: metrics of the same answers stay, those of other graphs go."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from service import cli
from service.package.manifest import Manifest, ModeCalibration
from service.package.package import ModelPackage
from service.package.verify import check_statements
from tests.support.kinds import kind_package
from tests.support.measured import record, row
from tests.support.packages import edit_graph
from tests.support.tiny import tiny_package
from training.export.change import write_change
from training.export.fp16 import add_fp16


def test_add_embedding_keeps_every_metric_and_can_write_elsewhere(tmp_path: Path) -> None:
    folder = record(tiny_package(tmp_path / "tiny"))
    before, manifest = (folder / "manifest.json").read_bytes(), ModelPackage.load(folder).manifest
    out = tmp_path / "embedded"
    done = CliRunner().invoke(cli.app, ["add-embedding", str(folder), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert (folder / "manifest.json").read_bytes() == before
    new = ModelPackage.load(out)
    assert new.manifest.name == "embedded"
    assert new.manifest.graph.embedding is not None
    plain = {"answers_digest": None}
    rows = [one.model_copy(update=plain) for one in new.manifest.metrics]
    assert rows == [one.model_copy(update=plain) for one in manifest.metrics]
    check_statements(new)
    again = CliRunner().invoke(cli.app, ["add-embedding", str(out)])
    assert again.exit_code == 2
    assert "has embeddings" in again.stderr


@pytest.fixture(name="with_fp16")
def _with_fp16(tmp_path: Path) -> Path:
    """A package with an fp16 graph that has its own calibration and metrics."""
    fitted = ModeCalibration(precision="fp32", mode="none", temperature=1.3)
    folder = kind_package(tmp_path / "kind", "average", 16, deep=True, calibration=(fitted,))
    add_fp16(folder, log=lambda _: None)
    read = ModelPackage.load(folder)
    own = fitted.model_copy(update={"precision": "fp16"})
    manifest = read.manifest.model_copy(update={"calibration": (fitted, own)})
    write_change(read, measured(manifest), print)
    return folder


def measured(manifest: Manifest) -> Manifest:
    rows = tuple(row(precision, "none", manifest) for precision in ("fp32", "fp16"))
    return manifest.model_copy(update={"metrics": rows})


def test_the_same_fp16_graph_again_changes_nothing(with_fp16: Path) -> None:
    before = ModelPackage.load(with_fp16).manifest
    add_fp16(with_fp16, log=lambda _: None)
    after = ModelPackage.load(with_fp16).manifest
    assert after.metrics == before.metrics
    assert after.calibration == before.calibration


def test_another_fp16_graph_drops_what_was_fitted_and_measured_with_the_old_one(
    with_fp16: Path,
) -> None:
    def mark(model) -> None:
        model.doc_string = "another graph"

    edit_graph(with_fp16, mark, "model.fp16.onnx")
    read = ModelPackage.load(with_fp16)
    write_change(read, measured(read.manifest), print)  # measured with the graph that is there
    said: list[str] = []
    add_fp16(with_fp16, log=said.append)
    after = ModelPackage.load(with_fp16)
    assert [one.precision for one in after.manifest.metrics] == ["fp32"]
    assert [one.precision for one in after.manifest.calibration] == ["fp32"]
    assert "the calibration of fp16 is dropped: it belongs to the graph before" in said
    assert any("metrics dropped" in line and "fp16 none" in line for line in said)
    check_statements(after)
