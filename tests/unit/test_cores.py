"""Cores: the scheduler's word, and a container's quota."""

import os
from pathlib import Path

import pytest

from service.inference.cores import usable_cores

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
