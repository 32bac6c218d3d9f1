"""The graph that reads no pixels, and what intake makes of its samples."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.service.intake import Case, Sample, Samples, compared, verdicts
from benchmarks.service.null_package import null_package
from service.inference.predictor import Predictor
from service.package import shipped
from service.package.package import ModelPackage, find
from tests.support.tiny import tiny_package


@pytest.mark.parametrize("task", ["single_label", "multi_label"])
def test_every_mode_is_answered_by_the_network_that_costs_nothing(
    tmp_path: Path, task: str
) -> None:
    package = ModelPackage.load(tiny_package(tmp_path / "tiny", task=task))  # type: ignore[arg-type]
    nothing = null_package(package, tmp_path / "nothing")
    assert nothing.precisions == ("fp32",)
    assert nothing.manifest.labels == package.manifest.labels
    predictor = Predictor.from_package(nothing.folder, provider="cpu", threads=1)
    predictor.warm_up()
    views = np.zeros((3, 70, 64, 3), np.uint8)
    assert predictor.session.run(views, "logits").shape == (3, 3)
    assert predictor.session.run(views, "class_map").shape == (3, 3, 3, 2)


@pytest.mark.parametrize("oldest", [False, True])
def test_the_shipped_package_can_be_measured(tmp_path: Path, oldest: bool) -> None:
    (folder, *_) = find(shipped.MODELS)
    nothing = null_package(ModelPackage.load(folder), tmp_path / "nothing", oldest=oldest)
    predictor = Predictor.from_package(nothing.folder, provider="cpu", threads=1)
    (answer,) = predictor.classify([np.zeros((300, 400, 3), np.uint8)], "five_crop")
    assert answer.label == nothing.manifest.labels[0].id
    assert nothing.manifest.schema_version == (1 if oldest else 2)


def test_older_code_is_not_told_how_to_decode(tmp_path: Path) -> None:
    package = ModelPackage.load(tiny_package(tmp_path / "tiny"))
    nothing = null_package(package, tmp_path / "nothing", oldest=True)
    written = json.loads((nothing.folder / "manifest.json").read_text())
    assert written["input"].keys() == {"crop_px", "resize_px"}


def sample(rate: float, p50_ms: float | None = 10, p99_ms: float | None = 20) -> Sample:
    return Sample(rate, rate, p50_ms, p99_ms, 0, 0.5)


def judged(samples: Samples) -> dict[str, bool]:
    return {verdict.promise: verdict.kept for verdict in verdicts(samples)}


def test_promises_compare_within_rounds() -> None:
    got = judged(
        {
            Case("224×224", "none", 1): [sample(100), sample(50)],
            Case("224×224", "five_crop", 1): [sample(95), sample(47)],
            Case("224×224", "none", 2): [sample(101)],
            Case("224×224", "five_crop", 2): [sample(60, 10, 31), sample(60, 10, 31)],
        }
    )
    assert got == {
        "224×224 none, 1 process(es): p99 ≤ 3 × p50": True,
        "224×224 five_crop, 1 process(es): ≥ 0.9 of none": True,
        "224×224 five_crop, 1 process(es): p99 ≤ 3 × p50": True,
        "224×224 none, 2 process(es): ≥ 1 of one": True,
        "224×224 none, 2 process(es): p99 ≤ 3 × p50": True,
        "224×224 five_crop, 2 process(es): ≥ 0.9 of none": False,
        "224×224 five_crop, 2 process(es): ≥ 1 of one": False,
        "224×224 five_crop, 2 process(es): p99 ≤ 3 × p50": False,
    }


def test_a_case_that_answered_nothing_keeps_no_promise() -> None:
    got = judged({Case("a", "none", 1): [sample(0, None, None)]})
    assert got == {"a none, 1 process(es): p99 ≤ 3 × p50": False}


def test_another_checkout_is_compared_and_makes_no_promises() -> None:
    now, before = Case("a", "none", 1), Case("a", "none", 1, before=True)
    samples = {now: [sample(90), sample(30)], before: [sample(30), sample(10)]}
    assert len(verdicts(samples)) == 1
    assert compared(samples).rows == (("a none, 1 process(es)", "3.00 [3.00, 3.00]"),)
