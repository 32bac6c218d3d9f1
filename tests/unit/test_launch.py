"""What `quincunx serve` settles before the server starts."""

import os
from pathlib import Path

import pytest

from benchmarks.ports import free_port
from service.api.server import launch
from service.inference.runtime.cores import usable_cores


@pytest.mark.parametrize(
    ("workers", "given", "threads"),
    [
        (1, None, None),
        (2, None, str(max(1, usable_cores() // 2))),
        (1000, None, "1"),
        (2, "7", "7"),
    ],
)
def test_processes_divide_the_cores_among_them(
    package: Path,
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
    given: str | None,
    threads: str | None,
) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("QUINCUNX_")}
    environment |= {"QUINCUNX_THREADS": given} if given else {}
    monkeypatch.setattr(os, "environ", environment)
    monkeypatch.setattr(launch, "_serve", lambda *_: None)
    options = {"packages": str(package)}
    launch.launch(options, host="127.0.0.1", port=free_port(), workers=workers)
    assert os.environ.get("QUINCUNX_THREADS") == threads
