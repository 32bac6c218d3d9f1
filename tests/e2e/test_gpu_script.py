"""The GPU script runs whole on the CPU provider, and its checks can fail."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks.gpu import __main__ as script
from service.package.package import ModelPackage
from tests.support.tiny import tiny_package


def test_it_checks_measures_and_reports(package: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", str(package), "--provider", "cpu"]
    subprocess.run([*command, "--rounds", "5", "--out", str(tmp_path)], check=True)
    results = json.loads((tmp_path / "gpu.json").read_text())
    assert {c["precision"] for c in results["checks"]} == {"fp32", "int8"}
    assert {r["mode"] for r in results["modes"]} == {"none", "five_crop", "dense"}
    assert all(r["p50_ms"] > 0 for r in results["passes"])
    assert "| fp32 | five_crop | 32 |" in (tmp_path / "gpu.md").read_text()


def test_a_graph_that_disagrees_ends_the_run(package: Path, tmp_path: Path) -> None:
    other = tiny_package(tmp_path / "other", classes=3)
    loaded = ModelPackage.load(other)
    model = onnx.load(other / "model.int8.onnx")
    for initializer in model.graph.initializer:
        if initializer.name == "scale":
            initializer.CopyFrom(onnx.numpy_helper.from_array(np.array(0.5, np.float32), "scale"))
    onnx.save(model, other / "model.fp16.onnx")
    forged = loaded.manifest.files[1].model_copy(
        update={"precision": "fp16", "file": "model.fp16.onnx"}
    )
    manifest = loaded.manifest.model_copy(update={"files": (loaded.manifest.files[0], forged)})
    with pytest.raises(SystemExit, match="differs from the CPU"):
        script.check(ModelPackage(other, manifest), "fp16", "cpu")
