"""The GPU script runs whole on the CPU provider, and its checks can fail."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks.gpu import __main__ as script
from benchmarks.gpu import engine, load, product, sweep
from service.bench.image_size import ImageSize
from service.package.package import ModelPackage
from tests.support.images import COLOURS, coloured, encoded
from tests.support.tiny import tiny_package


@pytest.fixture(autouse=True)
def _short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """No figure is judged here, so a stretch of requests is short and no image is large."""
    monkeypatch.setattr(product, "SHORTEST_S", 0.2)
    monkeypatch.setattr(load, "WARM_UP_S", 0.1)
    monkeypatch.setattr(product, "PHONE", ImageSize(640, 480))


def test_it_checks_measures_and_reports(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for seed, name in enumerate(COLOURS):
        (photos / f"{name}.png").write_bytes(encoded(coloured(name, seed=seed)))
    command = ["benchmarks.gpu", str(package), "--photos", str(photos), "--out", str(tmp_path)]
    options = ["--provider", "cpu", "--minutes", "0.6", "--rounds", "5"]
    monkeypatch.setattr(sys, "argv", [*command, *options])
    script.main()
    (path,) = tmp_path.glob("*.json")
    results = json.loads(path.read_text())
    assert results["disagreements"] == []
    assert {c["precision"] for c in results["checks"]} == {"fp32", "fp16", "int8"}
    assert {row["same_class"] for row in results["answers"]} == {3}
    assert "dense" in {row["mode"] for row in results["answers"]}
    left_out = {line.partition(": ")[0]: line for line in results["left_out"]}
    assert all("the time was over" in line for line in left_out.values()), left_out
    if "service" not in left_out:
        assert {row["failed"] for row in results["service"]} == {0}
        assert {row["of_none"][0] for row in results["service"] if row["mode"] == "none"} <= {1}
    if "score" not in left_out:
        assert {row["failed"] for row in results["score"]} == {0}
    assert {"sweep", "intake"} <= results.keys()
    assert "## Answers for photos" in path.with_suffix(".md").read_text()


def test_the_engine_alone(package: Path) -> None:
    rows = sweep.sweep(ModelPackage.load(package), "cpu", lambda: 1.0)
    places = {row["where"] for row in rows}
    assert places == {"device", "host", f"product, {sweep.THREADS} threads"}
    assert all(row["views_per_second"] > 0 for row in rows)


def test_a_network_that_costs_nothing_is_served(package: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "red.png").write_bytes(encoded(coloured("red")))
    rows = product.intake(ModelPackage.load(package), photos, 1, tmp_path, lambda: 1.0, print)
    assert {row["mode"] for row in rows} == {"none", "five_crop"}
    assert {row["failed"] for row in rows if row["images"] == "photos"} == {0}
    assert {row["processes"] for row in rows} == {"1"}


def test_a_graph_that_disagrees_ends_the_run(package: Path, tmp_path: Path) -> None:
    other = tiny_package(tmp_path / "other", classes=3)
    loaded = ModelPackage.load(other)
    model = onnx.load(other / "model.int8.onnx")
    for initializer in model.graph.initializer:
        if initializer.name == "scale":
            initializer.CopyFrom(onnx.numpy_helper.from_array(np.array(0.5, np.float32), "scale"))
    data = model.SerializeToString()
    (other / "model.fp16.onnx").write_bytes(data)
    digest = {"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    forged = loaded.manifest.files[1].model_copy(
        update=digest | {"precision": "fp16", "file": "model.fp16.onnx"}
    )
    manifest = loaded.manifest.model_copy(update={"files": (loaded.manifest.files[0], forged)})
    with pytest.raises(engine.Disagreement, match="differs from the CPU"):
        engine.check(ModelPackage(other, manifest), "fp16", "cpu")
