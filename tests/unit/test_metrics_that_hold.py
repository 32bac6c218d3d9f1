"""A change of a package drops exactly the metrics that it makes stale."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.inference.predictor import Predictor
from service.package.manifest import Adaptive, Manifest, Mode, ModeCalibration, Precision
from service.package.package import ModelPackage
from service.package.recorded.dependence import answers_digest, ranking_digest, restamped, stale
from service.package.recorded.holding import answers_differ, with_what_holds
from tests.support.images import drawn
from tests.support.measured import MEASURED, PRECISIONS, with_metrics
from tests.support.tiny import tiny_package
from training.export.writer import write_manifest

Change = Callable[[Manifest], Manifest]


def fitted(precision: Precision, mode: Mode, **values: Any) -> Change:
    def changed(entry: ModeCalibration) -> ModeCalibration:
        same = (entry.precision, entry.mode) == (precision, mode)
        return entry.model_copy(update=values) if same else entry

    return lambda m: m.model_copy(update={"calibration": tuple(map(changed, m.calibration))})


def other_gate(manifest: Manifest) -> Manifest:
    gate = manifest.calibration_for("int8", "adaptive").gate
    assert gate is not None
    return fitted("int8", "adaptive", gate=gate.model_copy(update={"threshold": 0.61}))(manifest)


def fields(**values: Any) -> Change:
    return lambda manifest: manifest.model_copy(update=values)


def graph(precision: Precision) -> Change:
    def changed(manifest: Manifest) -> Manifest:
        files = [
            file.model_copy(update={"sha256": "0" * 64}) if file.precision == precision else file
            for file in manifest.files
        ]
        return manifest.model_copy(update={"files": tuple(files)})

    return changed


EVERY = {f"{p} {m}" for p in PRECISIONS for m in MEASURED}
INT8 = {name for name in EVERY if name.startswith("int8")}
CASES: dict[str, tuple[Change, set[str], set[str]]] = {
    # the change, rows that are dropped, rows that lose NLL and ECE
    "nothing": (lambda manifest: manifest, set(), set()),
    "the version": (fields(version="9"), set(), set()),
    "the default mode": (fields(default_mode="dense"), set(), set()),
    "prediction sets": (fitted("int8", "none", conformal={"0.9": 0.5}), set(), set()),
    "view weights": (fitted("int8", "five_crop", view_weights=(0.2,) * 5), set(), set()),
    "a gate": (other_gate, {"int8 adaptive"}, set()),
    "a temperature": (fitted("int8", "none", temperature=2.0), set(), {"int8 none"}),
    "a power": (fitted("int8", "none", temperature_power=0.5), set(), {"int8 none"}),
    "that of the second pass": (
        fitted("fp32", "dense", temperature=2.0), {"fp32 adaptive"}, {"fp32 dense"},
    ),
    "that of both passes": (
        fitted("fp32", "adaptive", second_temperature=2.0), {"fp32 adaptive"}, set(),
    ),
    "a share": (fitted("int8", "centre_dense", second_share=0.3), {"int8 centre_dense"}, set()),
    "the first pass": (
        fields(adaptive=Adaptive(first_px=96)), {"fp32 adaptive", "int8 adaptive"}, set(),
    ),
    "a graph": (graph("int8"), INT8, set()),
}  # fmt: skip


@pytest.fixture(scope="module", name="plain")
def _plain(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return ModelPackage.load(tiny_package(tmp_path_factory.mktemp("m") / "tiny")).manifest


@pytest.mark.parametrize("digests", [True, False], ids=["now", "recorded by 0.5"])
@pytest.mark.parametrize("case", CASES)
def test_what_is_stale_is_dropped_and_said(plain: Manifest, case: str, digests: bool) -> None:
    change, rows, confidence = CASES[case]
    old = with_metrics(plain, digests=digests)
    new, dropped = with_what_holds(old, change(old))
    assert {f"{row.precision} {row.mode}" for row in new.metrics} == EVERY - rows
    assert set(dropped.rows) == rows
    assert set(dropped.confidence) == confidence
    assert bool(dropped.lines()) == bool(rows | confidence)
    assert stale(new) == []
    earlier = {f"{row.precision} {row.mode}": row for row in old.metrics}
    for row in new.metrics:
        assert row.top1 == 0.9
        own = f"{row.precision} {row.mode}"
        assert (row.nll is None, row.ece is None) == (own in confidence,) * 2
        references = {"against_single": f"{row.precision} none", "against_fp32": f"fp32 {row.mode}"}
        for field, reference in references.items():
            pair, before = getattr(row, field), getattr(earlier[own], field)
            if before is None or reference in rows:
                assert pair is None
            else:
                assert pair.corrected == 3
                assert (pair.nll_difference is None) == bool({own, reference} & confidence)


def test_a_row_that_was_stale_before_does_not_become_valid(plain: Manifest) -> None:
    measured = with_metrics(plain)
    by_hand = other_gate(measured)
    assert [f"{row.precision} {row.mode}" for row in stale(by_hand)] == ["int8 adaptive"]
    new, dropped = with_what_holds(by_hand, by_hand.model_copy(update={"version": "2"}))
    assert dropped.rows == ["int8 adaptive"]
    assert stale(new) == []


def test_going_back_to_the_measured_calibration_keeps_what_is_left(plain: Manifest) -> None:
    measured = with_metrics(plain)
    there, _ = with_what_holds(measured, fitted("int8", "none", temperature=2.0)(measured))
    back, dropped = with_what_holds(
        there, there.model_copy(update={"calibration": plain.calibration})
    )
    assert stale(back) == []
    assert len(back.metrics) == len(measured.metrics)
    assert dropped.rows == []


def test_answers_that_were_not_calibrated_before_do_not_count_as_changed(plain: Manifest) -> None:
    bare = plain.model_copy(update={"calibration": (), "adaptive": None})
    assert not answers_differ(bare, plain)
    assert answers_differ(plain, other_gate(plain))
    assert not answers_differ(plain, plain.model_copy(update={"version": "2"}))


def test_a_graph_with_the_same_answers_keeps_its_metrics(plain: Manifest) -> None:
    old = with_metrics(plain)
    assert stale(graph("int8")(old))
    assert stale(restamped(old, graph("int8")(old))) == []


@pytest.mark.parametrize("mode", MEASURED)
def test_the_digests_are_right_about_the_answers(tmp_path: Path, mode: Mode) -> None:
    """Equal digests of ranking: the same top-1. Equal digests of answers: the same bits."""
    folder = tiny_package(tmp_path / "tiny")
    images = [drawn(90 + 7 * n, 150, seed=n) for n in range(12)]
    plain = ModelPackage.load(folder).manifest
    before = answered(folder, images, mode)
    for case, (change, _, _) in CASES.items():
        if "graph" in case:
            continue
        new = change(plain)
        write_manifest(folder, new)
        after = answered(folder, images, mode)
        if answers_digest(plain, "int8", mode) == answers_digest(new, "int8", mode):
            np.testing.assert_array_equal(before, after)
        if ranking_digest(plain, "int8", mode) == ranking_digest(new, "int8", mode):
            np.testing.assert_array_equal(before.argsort(1), after.argsort(1))


def answered(folder: Path, images: list[Any], mode: Mode) -> np.ndarray:
    predictor = Predictor.from_package(folder, precision="int8", provider="cpu", threads=1)
    return np.stack([one.answer.probabilities for one in predictor.classify(images, mode)])
