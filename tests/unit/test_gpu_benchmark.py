"""The GPU script ends in time, keeps every row that it has, and judges what was promised."""

import argparse
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.gpu import __main__ as script
from benchmarks.gpu import engine, load
from benchmarks.gpu.deadline import PartOver, RunOver, at_most, ended_by_sigterm
from benchmarks.gpu.report import PARTS, markdown
from benchmarks.gpu.targets import verdicts
from service.bench.load.records import Records
from service.bench.load.worker import Done
from service.bench.photos import Photos
from tests.support.images import coloured, encoded
from tests.support.tiny import tiny_package

ROW = {"precision": "fp32", "largest_relative_difference": 1e-6, "views": [3], "runs": 4}


@pytest.fixture(name="run")
def _run(tmp_path: Path) -> script.Run:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "red.png").write_bytes(encoded(coloured("red")))
    given = argparse.Namespace(
        package=tiny_package(tmp_path / "tiny"), photos=photos, minutes=1.0, provider="cpu",
        out=tmp_path / "out", rounds=2,
    )  # fmt: skip
    return script.Run(given, tmp_path)


def written(run: script.Run) -> dict[str, Any]:
    (path,) = run._given.out.glob("*.json")  # pyright: ignore[reportPrivateUsage]
    return json.loads(path.read_text())


def part(run: script.Run, rows: Callable[[], Generator[dict[str, Any]]], seconds: float) -> None:
    run._one_part("checks", rows, seconds)  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize(
    ("error", "noted"),
    [
        (RuntimeError("the card is gone"), "checks: RuntimeError: the card is gone"),
        (SystemExit("no server"), "checks: SystemExit: no server"),
    ],
)
def test_rows_before_a_failure_are_kept(run: script.Run, error: BaseException, noted: str) -> None:
    def rows() -> Generator[dict[str, Any]]:
        yield ROW
        assert written(run)["checks"] == [ROW]  # before the part has ended
        raise error

    part(run, rows, 60)
    run.write()
    assert written(run)["checks"] == [ROW]
    assert written(run)["left_out"] == [noted]


def test_a_part_that_hangs_is_ended_and_closed(
    run: script.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "LATE_S", 0.05)
    closed: list[bool] = []

    def rows() -> Generator[dict[str, Any]]:
        try:
            yield ROW
            with suppress(Exception):  # as code does that goes on after a failed run
                threading.Event().wait(60)
            pytest.fail("it went on")
        finally:
            closed.append(True)

    part(run, rows, 0.05)
    assert closed == [True]
    assert run.results["checks"] == [ROW]
    assert run.results["left_out"] == ["checks: it was ended after 0 s"]


def test_no_part_may_take_much_longer_than_the_run(run: script.Run) -> None:
    run._until = time.monotonic() - 100  # pyright: ignore[reportPrivateUsage]
    allowed: list[float] = []

    def rows() -> Generator[dict[str, Any]]:
        allowed.append(signal.getitimer(signal.ITIMER_REAL)[0])
        yield ROW

    part(run, rows, 5)
    assert allowed[0] <= 5 + script.SPARE_S
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_sigterm_ends_the_run_and_keeps_its_rows(run: script.Run) -> None:
    def rows() -> Generator[dict[str, Any]]:
        yield ROW
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(60)

    with pytest.raises(RunOver), ended_by_sigterm():
        part(run, rows, 60)
    assert written(run)["checks"] == [ROW]
    assert signal.getsignal(signal.SIGTERM) != signal.SIG_IGN


def test_a_timer_ends_a_block_and_is_taken_back() -> None:
    with pytest.raises(PartOver), at_most(0.01):
        threading.Event().wait(60)
    with at_most(60):
        pass
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_one_precision_that_disagrees_does_not_hide_the_other(
    run: script.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(_: Any, precision: str, *__: Any) -> dict[str, Any]:
        if precision == "fp32":
            raise engine.Disagreement("fp32 differs")
        return ROW | {"precision": precision}

    monkeypatch.setattr(engine, "check", check)
    part(run, run._checks, 60)  # pyright: ignore[reportPrivateUsage]
    assert [row["precision"] for row in run.results["checks"]] == ["fp16", "int8"]
    assert run.results["disagreements"] == ["fp32 differs"]
    assert run.results["left_out"] == []


def test_what_was_promised_comes_first_and_every_part_is_reported() -> None:
    assert set(script.SHARES) == set(PARTS)
    assert list(script.SHARES)[:4] == ["checks", "answers", "service", "score"]


def results() -> dict[str, Any]:
    served = {
        "processes": "auto: 16", "images": "photos", "users": 192, "p50_ms": 40.0, "p99_ms": 80.0,
        "failed": 0, "refused": 0, "client_limited": None, "start_s": 31.0,
    }  # fmt: skip
    engine_row = {"precision": "fp16", "layout": "channels last", "graph": "yes", "views": 64}
    return {
        "package": "p@1", "provider": "cuda", "command": "c", "left_out": [], "disagreements": [],
        "machine": {"cuda": {"devices": ["H100"]}},
        "environment": {"taken_at": "t", "cpu": "x", "cores": 16, "libraries": {}},
        "service": [
            served | {"mode": "none", "images_per_second": 4300.0, "of_none": (1.0, 1.0, 1.0)},
            served | {"mode": "five_crop", "images_per_second": 4100.0, "of_none": (0.95, 0.9, 1)},
            served | {"mode": "adaptive", "images_per_second": 3000.0, "of_none": None},
        ],
        "score": [
            {
                "images_of": "224×224", "mode": "five_crop", "without_start": 5999.0,
                "decode_processes": "auto", "images": 9, "failed": 0, "images_per_second": 1.0,
                "seconds_with_start": 9.0,
            }
        ],
        "sweep": [
            engine_row | {"where": "product, 2 threads", "views_per_second": 36_000.0},
            engine_row | {"where": "device", "views_per_second": 99_000.0},
            engine_row | {"where": "host", "views_per_second": 36_500.0},
        ],
    }  # fmt: skip


def test_the_promises_are_judged() -> None:
    found = verdicts(results())
    assert [one.kept for one in found] == [True, True, True, False, True]
    assert found[4].measured == pytest.approx(36_000 / 36_500)
    text = markdown(results())
    assert text.count("NOT KEPT") == 1
    assert text.index("What was promised") < text.index("The service over HTTP")


def test_what_was_not_measured_is_not_kept() -> None:
    found = verdicts(results() | {"service": [], "score": [], "sweep": []})
    assert {(one.measured, one.kept, one.shown) for one in found} == {(None, False, "not measured")}
    failing = results()
    failing["service"][2]["failed"] = 3
    assert not verdicts(failing)[2].kept


@pytest.mark.parametrize(("cores", "clients"), [(1, 2), (8, 2), (16, 4), (64, 6)])
def test_several_processes_send_the_requests(cores: int, clients: int) -> None:
    assert load.client_processes(cores) == clients


class Pool:
    """Client processes that are ended at the third stretch."""

    def __init__(self, *_: Any) -> None:
        self.stretches = 0

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None: ...

    def run(self, *_: Any) -> Done:
        self.stretches += 1
        if self.stretches > 3:
            raise PartOver("it was ended after 9 s")
        times = np.linspace(0.6, 1.4, 40)
        kind = np.zeros(40, np.int16)
        return Done(Records(times, times, times + 0.01, kind + 200, kind, kind > 0), 0.1)


def test_what_was_asked_before_the_end_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "WorkerPool", Pool)
    photos = Photos((encoded(coloured("red")),), "one")
    rows = load.compared("http://x", photos, ["none", "dense"], 2, 1.0, 1)
    found = []
    with pytest.raises(PartOver):
        found += rows
    assert {row["mode"] for row in found} == {"none", "dense"}
    assert all(row["images_per_second"] == 40 and row["of_none"][0] == 1 for row in found)
