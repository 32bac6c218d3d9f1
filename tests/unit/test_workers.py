"""The pool: what is nearest to an answer goes first, and a failure belongs to whoever waits."""

import os
import sys
import threading
from collections.abc import Iterator

import pytest

from service.workers import NICER, Urgency, Workers

PATIENCE_S = 30


@pytest.fixture(name="workers")
def _workers() -> Iterator[Workers]:
    made = Workers(1)
    yield made
    made.shutdown()


def test_the_most_urgent_goes_first_and_of_two_the_first_come(workers: Workers) -> None:
    free, done = threading.Event(), list[str]()
    workers.submit(Urgency.BEGIN, lambda: free.wait(PATIENCE_S))
    wanted = [(Urgency.BEGIN, "begin"), (Urgency.BATCH, "batch"), (Urgency.FINISH, "finish")]
    futures = [
        workers.at(urgency).submit(done.append, f"{name} {number}")
        for number in range(2)
        for urgency, name in wanted
    ]
    free.set()
    for future in futures:
        future.result(PATIENCE_S)
    assert done == ["finish 0", "finish 1", "batch 0", "batch 1", "begin 0", "begin 1"]


def test_a_failure_reaches_whoever_waits_and_nobody_else(workers: Workers) -> None:
    failing = workers.at(Urgency.BEGIN).submit(int, "no number")
    with pytest.raises(ValueError, match="no number"):
        failing.result(PATIENCE_S)
    assert workers.at(Urgency.BEGIN).submit(int, "7").result(PATIENCE_S) == 7


def test_what_is_taken_back_is_not_done(workers: Workers) -> None:
    free, done = threading.Event(), list[int]()
    workers.submit(Urgency.BEGIN, lambda: free.wait(PATIENCE_S))
    taken_back, kept = (workers.at(Urgency.BEGIN).submit(done.append, n) for n in range(2))
    assert taken_back.cancel()
    free.set()
    kept.result(PATIENCE_S)
    assert done == [1]


def test_what_was_submitted_before_the_shutdown_is_done(workers: Workers) -> None:
    free = threading.Event()
    workers.submit(Urgency.BEGIN, lambda: free.wait(PATIENCE_S))
    late = workers.at(Urgency.BEGIN).submit(lambda: "done")
    workers.shutdown()
    free.set()
    assert late.result(PATIENCE_S) == "done"


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a niceness on Linux only")
def test_workers_let_the_event_loop_go_first(workers: Workers) -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    of_worker = workers.at(Urgency.BEGIN).submit(niceness).result(PATIENCE_S)
    assert of_worker == min(19, niceness() + NICER)
