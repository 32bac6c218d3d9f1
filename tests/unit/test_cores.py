"""Cores: the scheduler's word, a container's quota, and how many batches they run side by side."""

import os
from pathlib import Path

import pytest

from service.inference.cores import usable_cores
from service.inference.predictor import Predictor

ALLOWED = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("max 100000\n", ALLOWED),
        ("50000 100000\n", 1),
        ("100001 100000\n", min(2, ALLOWED)),
        ("100000000 100000\n", ALLOWED),
        ("nonsense", ALLOWED),
    ],
)
def test_a_quota_is_rounded_up_and_never_adds_cores(tmp_path: Path, text: str, cores: int) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert usable_cores(tmp_path / "cpu.max") == cores


def test_without_a_container_the_scheduler_says(tmp_path: Path) -> None:
    assert usable_cores(tmp_path / "nothing") == ALLOWED
    assert 1 <= usable_cores() <= ALLOWED


@pytest.mark.parametrize(("threads", "runs"), [(0, 1), (1, 4), (2, 2), (3, 1), (8, 1)])
def test_runs_side_by_side_fill_the_cores(package: Path, threads: int, runs: int) -> None:
    predictor = Predictor.from_package(package, provider="cpu", threads=threads)
    assert predictor.session.side_by_side(4) == runs
