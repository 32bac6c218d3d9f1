"""The GPU script runs whole on the CPU provider, and its checks can fail."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from benchmarks.gpu import __main__ as script
from benchmarks.gpu import engine, load, processes, product, scoring, sweep
from service.package.package import ModelPackage
from tests.support.images import COLOURS, coloured, encoded
from tests.support.tiny import tiny_package


@pytest.fixture(autouse=True)
def _short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """No figure is judged here, so a stretch of requests is short."""
    monkeypatch.setattr(product, "SHORTEST_S", 0.2)
    monkeypatch.setattr(load, "WARM_UP_S", 0.1)
    monkeypatch.setattr(scoring, "SCORED", {"cpu": 16, "cuda": 16})


@pytest.fixture(name="photos")
def _photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed, name in enumerate(COLOURS):
        (folder / f"{name}.png").write_bytes(encoded(coloured(name, seed=seed)))
    return folder


def test_it_checks_measures_and_reports(
    package: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    late = ("the time was over", "it was ended after")
    assert all(any(why in line for why in late) for line in left_out.values()), left_out
    if "service" not in left_out:
        assert {row["failed"] for row in results["service"]} == {0}
        assert {row["of_none"][0] for row in results["service"] if row["mode"] == "none"} <= {1}
    if "score" not in left_out:
        assert {row["failed"] for row in results["score"]} == {0}
    assert {"sweep", "intake"} <= results.keys()
    assert "## Answers for photos" in path.with_suffix(".md").read_text()


def test_the_engine_alone(package: Path) -> None:
    rows = [*sweep.sweep(ModelPackage.load(package), "cpu", lambda: 1.0)]
    places = {row["where"] for row in rows}
    assert places == {"device", "host", f"product, {sweep.THREADS} threads"}
    assert all(row["views_per_second"] > 0 for row in rows)


def test_a_network_that_costs_nothing_is_served(
    package: Path, photos: Path, tmp_path: Path
) -> None:
    rows = [*product.intake(ModelPackage.load(package), photos, [1], tmp_path, lambda: 1.0, print)]
    assert {(row["images"], row["mode"]) for row in rows} == {
        (images, mode) for images in ("photos", "224×224") for mode in ("none", "five_crop")
    }
    assert {row["failed"] for row in rows} == {0}
    assert {row["processes"] for row in rows} == {"1"}


def test_a_server_that_does_not_start_is_left_out(
    package: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, left_out = ModelPackage.load(package), list[str]()
    start = product.serving

    def fails_with_two(*given: Any) -> Any:
        if given[2] == 2:
            monkeypatch.setattr(
                processes, "QUINCUNX", (sys.executable, "-c", "raise SystemExit('no card')")
            )
        else:
            monkeypatch.undo()
        return start(*given)

    monkeypatch.setattr(product, "serving", fails_with_two)
    rows = product.whole_service(
        loaded, "cpu", photos, (2, 1), tmp_path, lambda: 1.0, left_out.append
    )
    assert {row["processes"] for row in rows} == {"1"}
    assert left_out == ["2 process(es): no server: no card"]


def test_score_is_measured_with_and_without_its_start(
    package: Path, photos: Path, tmp_path: Path
) -> None:
    paths = sorted(photos.iterdir())
    left_out: list[str] = []

    rows = [
        *scoring.score(
            ModelPackage.load(package), "cpu", paths, tmp_path, lambda: 0.0, left_out.append
        )
    ]
    assert [row["images_of"] for row in rows] == ["224×224"]
    assert rows[0]["failed"] == 0
    assert rows[0]["images"] == 4 + 3 * 16
    assert rows[0]["without_start"] > 0
    assert len(left_out) == 3


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
