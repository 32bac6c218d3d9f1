"""Stages are measured only while a clock records, and nested stages count once."""

import threading
from collections.abc import Iterator
from itertools import count

import pytest

from service.inference import stage_clock
from service.inference.stage_clock import StageClock, stage


@pytest.fixture(autouse=True)
def one_second_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the clock is one second after the last."""
    looks: Iterator[int] = count()
    monkeypatch.setattr(stage_clock, "perf_counter", lambda: float(next(looks)))


def test_nothing_is_measured_without_a_clock() -> None:
    clock = StageClock()
    with stage("resize"):
        pass
    assert set(clock.seconds.values()) == {0.0}


def test_a_nested_stage_counts_for_the_inner_stage_only() -> None:
    clock = StageClock()
    with clock.recording():
        with stage("aggregation"):  # looks 0 and 5: 5 s, of which 2 s are inside
            with stage("resize"):  # looks 1 and 2
                pass
            with stage("inference"):  # looks 3 and 4
                pass
        with stage("resize"):
            pass
    assert clock.seconds == {"resize": 2.0, "inference": 1.0, "aggregation": 3.0}


def test_a_stage_that_fails_is_measured_and_recording_ends() -> None:
    clock = StageClock()
    with pytest.raises(ValueError, match="broken"), clock.recording(), stage("inference"):
        raise ValueError("broken")
    assert clock.seconds["inference"] == 1.0
    with stage("inference"):
        pass
    assert clock.seconds["inference"] == 1.0


def test_other_threads_are_not_measured() -> None:
    clock = StageClock()

    def work() -> None:
        with stage("resize"):
            pass

    with clock.recording():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert clock.seconds["resize"] == 0.0
