"""Cores: the scheduler's word, a container's quota, and how many batches they run side by side."""

import os
from pathlib import Path

import pytest

from service.api.server import models
from service.inference.predictor import Predictor
from service.inference.runtime import providers
from service.inference.runtime.cores import usable_cores
from service.settings import Settings

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
    assert predictor.session.max_concurrent_batches(4) == runs


@pytest.mark.parametrize(
    ("threads", "usable", "named"), [(0, 4, 0), (0, 2, 2), (1, 4, 1), (1, 2, 1), (3, 2, 3)]
)
def test_one_thread_per_core_means_those_of_the_container(
    monkeypatch: pytest.MonkeyPatch, threads: int, usable: int, named: int
) -> None:
    """0 leaves the number, and which core each thread is held on, to ONNX Runtime."""
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(providers, "usable_cores", lambda: usable)
    assert providers.session_options("cpu", threads).intra_op_num_threads == named


@pytest.mark.parametrize(
    ("usual", "latency", "cores", "expected"),
    [
        (1, 0, 4, 0),  # every core: the runtime holds a thread on each
        (1, 0, 2, 2),  # a worker's share of them
        (1, 0, 1, None),
        (0, 0, 4, None),  # any batch has every core
        (2, 0, 4, 0),
        (4, 0, 4, None),
        (1, 1, 4, None),
        (1, 3, 4, 3),
        (1, 8, 4, 8),
    ],
)
def test_single_request_mode_uses_every_core(
    monkeypatch: pytest.MonkeyPatch, usual: int, latency: int, cores: int, expected: int | None
) -> None:
    monkeypatch.setattr(models, "usable_cores", lambda: 4)
    settings = Settings(session_threads=usual, latency_threads=latency)
    assert models.latency_threads(settings, cores) == expected
