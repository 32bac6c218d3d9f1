"""The GPU's way to run batches, on the CPU provider: warm at the start, two batches in flight."""

import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.errors import InferenceFailed
from service.inference.common_shapes import STEPS, common_sizes
from service.inference.predictor import Predictor
from service.inference.runtime import cuda_runtime, io_binding
from service.inference.runtime.io_binding import IoBindingRunner
from service.inference.runtime.recording import GATE, RecordingGate
from service.inference.runtime.session import IN_FLIGHT, Session
from tests.support.images import drawn
from tests.support.kinds import kind_package
from tests.support.tiny import tiny_package


def bound_twin(predictor: Predictor) -> Predictor:
    """The same predictor with fixed buffers instead of plain runs."""
    path = predictor.package.path("fp32")
    return replace(
        predictor, session=Session.open(path, provider="cpu", threads=1, io_binding=True)
    )


@pytest.fixture(name="predictor", params=["tiny", "average", "any_crops"])
def _predictor(tmp_path: Path, request: pytest.FixtureRequest) -> Predictor:
    folder = tmp_path / "package"
    if request.param == "tiny":
        tiny_package(folder, int8=False)
    else:
        kind_package(folder, request.param)
    return Predictor.from_package(folder, provider="cpu", precision="fp32", threads=1)


def test_common_photos_need_no_shape_that_was_not_warm(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = bound_twin(predictor)
    assert bound.session.max_concurrent_batches(1) == IN_FLIGHT
    bound.warm_up(4, IN_FLIGHT)
    monkeypatch.setattr(
        IoBindingRunner, "_run_plainly", lambda *_: pytest.fail("a shape was not warm")
    )
    monkeypatch.setattr(IoBindingRunner, "_bind", lambda *_: pytest.fail("a shape was recorded"))
    shapes = [(3, 4), (2, 3), (9, 16), (4, 5), (1, 1), (1, 2), (5, 9), (59, 100), (83, 97)]
    side = bound.manifest.input.resize_px
    photos = [
        drawn(*size)
        for short, long in shapes
        for size in ((2 * side, 2 * side * long // short), (2 * side * long // short, 2 * side))
    ]
    for mode in set(bound.model.modes) - {"custom"}:
        for number in (1, 3, len(photos)):
            expected = predictor.classify(photos[:number], mode)
            for a, b in zip(expected, bound.classify(photos[:number], mode), strict=True):
                np.testing.assert_allclose(
                    a.answer.probabilities, b.answer.probabilities, atol=1e-5
                )


@pytest.mark.parametrize(("side", "stride"), [(224, 32), (232, 32), (256, 8), (64, 1), (518, 14)])
def test_common_sizes_are_few_and_reach_twice_the_side(side: int, stride: int) -> None:
    found = list(common_sizes(side, stride))
    assert len(set(found)) == len(found) <= 2 * STEPS + 3
    assert found[0] == (side, side)
    assert {min(size) for size in found} == {side}
    assert max(map(max, found)) > 2 * side - max(stride, side // STEPS) - 1
    assert {size[::-1] for size in found} == set(found)


def test_a_shape_that_comes_later_runs_once_and_plainly(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = bound_twin(predictor)
    bound.warm_up(1, 1)
    monkeypatch.setattr(IoBindingRunner, "_bind", lambda *_: pytest.fail("a shape was recorded"))
    runs: list[int] = []
    plain = IoBindingRunner._run_plainly

    def counted(*arguments: Any) -> Any:
        runs.append(1)
        return plain(*arguments)

    monkeypatch.setattr(IoBindingRunner, "_run_plainly", counted)
    views = np.stack([drawn(96, 480, seed) for seed in range(3)])
    np.testing.assert_allclose(
        bound.session.run(views, "logits"), predictor.session.run(views, "logits"), atol=2e-5
    )
    assert len(runs) == 1


def test_batches_of_many_threads_get_their_own_results(predictor: Predictor) -> None:
    bound = bound_twin(predictor)
    side = predictor.manifest.input.crop_px
    batches = [np.stack([drawn(side, side, 10 * n + k) for k in range(n)]) for n in range(1, 7)]
    expected = [predictor.session.run(batch, "logits") for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            got = pool.map(lambda batch: bound.session.run(batch, "logits"), batches)
            for a, b in zip(expected, got, strict=True):
                np.testing.assert_allclose(a, b, atol=2e-5)


def test_the_thread_that_warms_up_a_runner_serves_it(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: dict[IoBindingRunner, set[int]] = {}
    run = IoBindingRunner._run_bound

    def noted(self: IoBindingRunner, *arguments: Any) -> Any:
        threads.setdefault(self, set()).add(threading.get_ident())
        return run(self, *arguments)

    monkeypatch.setattr(IoBindingRunner, "_run_bound", noted)
    bound = bound_twin(predictor)
    bound.warm_up(2, IN_FLIGHT)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda seed: bound.classify([drawn(90, 90, seed)], "none"), range(12)))
    assert len(threads) == IN_FLIGHT
    assert all(len(used) == 1 for used in threads.values())


def test_nothing_runs_beside_a_recording() -> None:
    gate, state, lock = RecordingGate(), {"runs": 0, "recordings": 0}, threading.Lock()

    def work(number: int) -> None:
        what = "recordings" if number % 5 == 0 else "runs"
        with gate.recording() if what == "recordings" else gate.running():
            with lock:
                state[what] += 1
                assert state["recordings"] in (0, 1)
                assert not (state["recordings"] and state["runs"])
            with lock:
                state[what] -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(400)))


def test_a_recording_that_fails_is_repeated_alone(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside other runs it would fail again, and spoil CUDA for the whole process."""
    kinds: list[str] = []

    class Gate(RecordingGate):
        @contextmanager
        def running(self) -> Generator[None]:
            kinds.append("run")
            yield

        @contextmanager
        def recording(self) -> Generator[None]:
            kinds.append("recording")
            yield

    bound = bound_twin(predictor).session
    monkeypatch.setattr(io_binding, "GATE", Gate())
    run = IoBindingRunner._run_bound
    failures = iter([True, True])

    def out_of_memory(*arguments: Any) -> Any:
        if next(failures, False):
            raise RuntimeError("Failed to allocate memory for requested buffer")
        return run(*arguments)

    monkeypatch.setattr(IoBindingRunner, "_run_bound", out_of_memory)
    side = predictor.manifest.input.crop_px
    views = drawn(side, side)[None]
    for _ in range(2):  # both runners
        with pytest.raises(InferenceFailed, match="allocate memory"):
            bound.run(views, "logits")
    for _ in range(2):
        np.testing.assert_allclose(
            bound.run(views, "logits"), predictor.session.run(views, "logits"), atol=2e-5
        )
    assert kinds == ["recording"] * 4
    bound.run(views, "logits")
    assert kinds[4:] == ["run"]


def test_no_graph_is_opened_beside_a_recording(predictor: Predictor) -> None:
    opened: list[str] = []
    opener = threading.Thread(target=lambda: opened.append(bound_twin(predictor).session.provider))
    with GATE.recording():
        opener.start()
        opener.join(0.2)
        assert opener.is_alive()
        assert not opened
    opener.join(60)
    assert opened == ["cpu"]


class FakeRuntime:
    """The calls of libcudart."""

    def __init__(self, code: int = 0) -> None:
        self.code, self.flags, self.pinned = code, list[int](), dict[int, int]()

    def cudaSetDeviceFlags(self, flags: Any) -> int:  # noqa: N802
        self.flags.append(flags.value)
        return self.code

    def cudaHostRegister(self, address: Any, size: Any, _: Any) -> int:  # noqa: N802
        if not self.code:
            self.pinned[address.value] = size.value
        return self.code

    def cudaHostUnregister(self, address: Any) -> int:  # noqa: N802
        del self.pinned[address.value]
        return 0


@pytest.mark.parametrize("code", [0, 1])
def test_the_runtime_is_told_to_sleep_and_buffers_are_pinned(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    fake = FakeRuntime(code)
    monkeypatch.setattr(cuda_runtime, "runtime", lambda: fake)
    assert cuda_runtime.wait_without_spinning() == (not code)
    assert fake.flags == [4]
    buffer = cuda_runtime.host_buffer((2, 3), np.uint8)
    assert buffer.shape == (2, 3)
    assert list(fake.pinned.values()) == ([] if code else [6])
    del buffer
    assert not fake.pinned


def test_without_the_runtime_buffers_are_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_runtime, "runtime", lambda: None)
    assert not cuda_runtime.wait_without_spinning()
    assert cuda_runtime.host_buffer((2, 3), np.float32).dtype == np.float32
