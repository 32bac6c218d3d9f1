"""`quincunx serve --workers auto`, and what it may rest on."""

import ctypes
from typing import Any

import pytest

from service.api.server import launch
from service.api.server.worker_count import count_workers
from service.inference.runtime import gpu_memory

GIB = 2**30


@pytest.mark.parametrize(
    ("found", "number", "reason"),
    [
        ({"gpu": False, "cores": 16}, 1, "on a CPU"),
        ({"gpu": True, "cores": 16, "gpu_free_bytes": 79 * GIB}, 16, "the cores"),
        ({"gpu": True, "cores": 1, "gpu_free_bytes": 79 * GIB}, 1, "the cores"),
        ({"gpu": True, "cores": 64, "gpu_free_bytes": 16 * GIB}, 5, "16.0 GiB free"),
        ({"gpu": True, "cores": 64, "gpu_free_bytes": 16 * GIB, "models": 3}, 2, "6.5"),
        ({"gpu": True, "cores": 16, "gpu_free_bytes": GIB}, 1, "1.0 GiB free"),
        ({"gpu": True, "cores": 16, "gpu_free_bytes": 79 * GIB, "memory_bytes": 3 * GIB}, 3, "3.0"),
        ({"gpu": True, "cores": 16}, 1, "not known"),
    ],
)  # fmt: skip
def test_the_number_and_its_reason(found: dict[str, Any], number: int, reason: str) -> None:
    chosen = count_workers(**{"memory_bytes": 64 * GIB, **found})
    assert chosen.number == number
    assert reason in chosen.reason


class Driver:
    """The CUDA driver's and the management library's calls, for one GPU."""

    def __init__(self, code: int = 0) -> None:
        self.code = code

    def cuInit(self, _: int) -> int:  # noqa: N802
        return 0

    def cuDeviceGet(self, *_: Any) -> int:  # noqa: N802
        return 0

    def cuDeviceGetPCIBusId(self, text: Any, *_: Any) -> int:  # noqa: N802
        text.value = b"0000:65:00.0"
        return 0

    def nvmlInit_v2(self) -> int:  # noqa: N802
        return self.code

    def nvmlDeviceGetHandleByPciBusId_v2(self, bus_id: Any, _: Any) -> int:  # noqa: N802
        return 0 if bus_id.value == b"0000:65:00.0" else 2

    def nvmlDeviceGetMemoryInfo(self, _: Any, memory: Any) -> int:  # noqa: N802
        memory._obj.free = 70 * GIB
        return 0


def test_free_memory_of_the_gpu() -> None:
    assert gpu_memory.free_bytes(lambda _: Driver()) == 70 * GIB
    assert gpu_memory.free_bytes(lambda _: Driver(code=9)) is None

    def absent(name: str) -> Any:
        raise OSError(name)

    assert gpu_memory.free_bytes(absent) is None
    assert ctypes.sizeof(gpu_memory._Memory) == 24  # pyright: ignore[reportPrivateUsage]


def test_auto_on_a_gpu_says_how_many_and_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(launch, "free_bytes", lambda: 79 * GIB)
    monkeypatch.setattr(launch, "usable_cores", lambda: 12)
    monkeypatch.setattr(launch, "usable_bytes", lambda: 64 * GIB)
    assert launch._choose_workers(True, 1) == 12  # pyright: ignore[reportPrivateUsage]
    assert "quincunx: 12 workers (--workers auto): the GPU waits" in capsys.readouterr().err
    assert launch._choose_workers(False, 1) == 1  # pyright: ignore[reportPrivateUsage]
    assert capsys.readouterr().err == ""
