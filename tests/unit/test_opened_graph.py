"""A graph that a GPU cannot run alone is opened without CUDA graphs; other errors are told."""

import logging
from pathlib import Path
from typing import Any

import onnxruntime as ort
import pytest

from service.errors import UsageError
from service.inference.runtime import cuda, cuda_runtime, opened_graph
from service.inference.runtime.session import IN_FLIGHT, Session
from tests.support.tiny import tiny_package

CPU_NODES = (
    "This session contains graph nodes that are assigned to the default CPU EP, but fallback to "
    "CPU EP has been explicitly disabled by the user."
)


class Gpu:
    """Opens graphs as ONNX Runtime with a GPU would, on the CPU."""

    def __init__(self, *, refuses: str = "", always: str = "", falls_back: bool = False) -> None:
        self.refuses, self.always, self.falls_back = refuses, always, falls_back
        self.opened: list[tuple[str, str]] = []

    def __call__(self, graph: bytes, options: Any, wanted: list[tuple[str, Any]]) -> Any:
        ((name, settings),) = wanted
        if self.always:
            raise RuntimeError(self.always)
        strict = self._strict(options)
        if self.refuses and (strict == "1" or settings["enable_cuda_graph"] == "1"):
            raise RuntimeError(self.refuses)
        self.opened.append((settings["enable_cuda_graph"], strict))
        session: Any = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
        session.get_providers = lambda: [
            "CPUExecutionProvider" if self.falls_back and strict != "1" else name
        ]
        return session

    @staticmethod
    def _strict(options: ort.SessionOptions) -> str:
        try:
            return options.get_session_config_entry("session.disable_cpu_ep_fallback")
        except RuntimeError:  # it was not set
            return "0"


@pytest.fixture(name="path")
def _path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cuda, "look", lambda: cuda.Cuda())
    monkeypatch.setattr(cuda, "preload", lambda: None)
    monkeypatch.setattr(cuda_runtime, "runtime", lambda: None)
    return tiny_package(tmp_path / "tiny") / "model.onnx"


def graphs_of(session: Session) -> set[bool]:
    assert session.bound is not None
    return {one._graphs for one in session.bound._runners}  # pyright: ignore[reportPrivateUsage]


def test_all_nodes_run_on_the_gpu_and_graphs_are_recorded(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gpu = Gpu()
    monkeypatch.setattr(opened_graph, "opened", gpu)
    session = Session.open(path, provider="cuda")
    assert gpu.opened == [("1", "1")] * IN_FLIGHT
    assert graphs_of(session) == {True}
    assert not caplog.records


def test_nodes_on_the_cpu_take_away_the_graphs_and_are_told(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gpu = Gpu(refuses=CPU_NODES)
    monkeypatch.setattr(opened_graph, "opened", gpu)
    with caplog.at_level(logging.WARNING, "quincunx.session"):
        session = Session.open(path, provider="cuda")
    assert gpu.opened == [("0", "0")] * IN_FLIGHT
    assert graphs_of(session) == {False}
    (record,) = caplog.records
    assert "no CUDA graphs are recorded" in record.message
    assert CPU_NODES in record.message


@pytest.mark.parametrize(
    ("gpu", "told"),
    [
        (Gpu(always="CUDA failure 100: no CUDA-capable device is detected"), "failure 100"),
        (Gpu(refuses=CPU_NODES, falls_back=True), "explicitly disabled"),
    ],
)
def test_the_first_error_is_told_where_nothing_helps(
    path: Path, monkeypatch: pytest.MonkeyPatch, gpu: Gpu, told: str
) -> None:
    monkeypatch.setattr(opened_graph, "opened", gpu)
    with pytest.raises(UsageError, match=told):
        Session.open(path, provider="cuda")
