"""The training benchmark: it runs whole, its clocks add up, and they change nothing."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.training import __main__ as script
from benchmarks.training.__main__ import share_interval
from benchmarks.training.case import Case, measure
from benchmarks.training.stopwatch import PHASES, First, Last, Marks
from training import recipe
from training.data.dataset import split
from training.data.stats import IMAGENET
from training.fit.seeding import seed_all, seed_loaders
from training.fit.train import Run

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = [
    "architecture.widen=0.25", "batch_images=4", "stage.1.size_px=32", "stage.1.grow_at=[]",
    "crop_px=32", "resize_px=64", "calibration_share=0.2",
]  # fmt: skip


def test_it_measures_and_reports(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_own_process = script._in_own_process

    def measured(case: Case, device: str) -> dict[str, Any]:
        """One case in a process of its own shows that this works; the start takes seconds."""
        if (case.size_px, case.cache) == (32, "memory"):
            return in_own_process(case, device)
        return json.loads(json.dumps(measure(case)))

    monkeypatch.setattr(script, "_in_own_process", measured)
    command = ["benchmarks.training", str(data), "--sizes", "32", "64"]
    options = ["--workers=0", "--threads=1", "--warm-up=2", "--steps=8", "--repeats=1", "--out"]
    overrides = [part for value in TINY for part in ("--set", value)]
    monkeypatch.setattr(sys, "argv", [*command, *options, str(tmp_path), *overrides])
    script.main()
    results = json.loads((tmp_path / "results.json").read_text())
    rows = results["summary"]
    cases = [(row["size_px"], row["cache"], row["steps"]) for row in rows]
    assert cases == [(32, "memory", 8), (32, "off", 8), (64, "memory", 8), (64, "off", 8)]
    for row in rows:
        value, low, high = row["images_per_second"]
        assert low <= value <= high
        assert value == pytest.approx(4e3 / row["step_ms"])
        assert set(row["phases_ms"]) == set(PHASES)
        assert all(ms > 0 for ms in row["phases_ms"].values())
        assert 0 < row["wait_share"][0] < 1
        assert row["peak_mib"] > 100
    assert results["environment"]["libraries"]["torch"]
    assert str(data) not in (tmp_path / "results.json").read_text()
    assert "cache_folder" not in (tmp_path / "results.json").read_text()
    assert "| 64 | memory | 0 | 8 |" in (tmp_path / "report.md").read_text()


def test_a_case_that_fails_takes_no_other_with_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[dict[str, Any]] = []

    def one_fails(case: Case, _: str) -> dict[str, Any]:
        if case.size_px == 64:
            raise script.Failed("exit code 1; its error is above")
        if measured:  # the first result is on the disk before the second case runs
            assert len(json.loads((tmp_path / "results.json").read_text())["runs"]) == 1
        measured.append(json.loads(json.dumps(measure(case))))
        return measured[-1]

    monkeypatch.setattr(script, "_in_own_process", one_fails)
    command = ["benchmarks.training", str(data), "--sizes", "64", "32", "--cache=off"]
    options = ["--workers=0", "--threads=1", "--warm-up=1", "--steps=2", "--repeats=2", "--out"]
    overrides = [part for value in TINY for part in ("--set", value)]
    monkeypatch.setattr(sys, "argv", [*command, *options, str(tmp_path), *overrides])
    with pytest.raises(SystemExit, match=r"64 px, 0 workers, cache off, round 2: exit code 1"):
        script.main()
    (row,) = json.loads((tmp_path / "results.json").read_text())["summary"]
    assert (row["size_px"], row["rounds"]) == (32, 2)


def weights(data: Path, folder: Path, marks: Marks | None) -> dict[str, torch.Tensor]:
    """Those of a network after an epoch of 12 steps, measured or not."""
    made = recipe.load("small-cpu", [*TINY, "mixer=mixup"])
    run = Run(made, split(data, made), IMAGENET, folder, None, None, 0, lambda _: None)
    learn: Any = run.learn
    seed_all(1, 1)
    seed_loaders(learn.dls, 1, 0)
    learn.fit(1, lr=1e-2, cbs=[First(marks), Last(marks)] if marks else [])
    return learn.model.state_dict()


def test_the_clocks_change_nothing_and_add_up(data: Path, tmp_path: Path) -> None:
    marks = Marks(warm_up=2, steps=100, phases=True)
    plain, timed = weights(data, tmp_path, None), weights(data, tmp_path, marks)
    assert all(torch.equal(plain[name], timed[name]) for name in plain)
    assert (len(marks.rows), {len(row) for row in marks.rows}) == (10, {len(PHASES)})
    stepwise = Marks(warm_up=2, steps=5, phases=False)
    weights(data, tmp_path, stepwise)
    assert (len(stepwise.rows), {len(row) for row in stepwise.rows}) == (5, {1})


def test_the_share_of_a_sum_weighs_every_step_by_its_length() -> None:
    part, whole = np.array([1.0, 0.0, 1.0, 0.0] * 5), np.array([2.0, 6.0] * 10)
    share = share_interval(part, whole)
    assert share.value == pytest.approx(1 / 8)
    assert share.low <= share.value <= share.high
    exact = share_interval(np.full(9, 1.0), np.full(9, 4.0))
    assert (exact.low, exact.high) == (0.25, 0.25)
