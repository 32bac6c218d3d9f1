"""The pool: what is nearest to an answer goes first, and sources take turns."""

import os
import sys
import threading
from collections import deque
from collections.abc import Iterator

import pytest

from service.scheduler.workers import NICER, Urgency, Work, Workers

PATIENCE_S = 30


class Source:
    """Work that waits."""

    def __init__(self, workers: Workers, urgency: Urgency) -> None:
        self.workers = workers
        self.urgency = urgency
        self.waiting: deque[Work] = deque()
        workers.add(urgency, self.take)

    def take(self) -> Work | None:
        return self.waiting.popleft() if self.waiting else None

    def put(self, work: Work) -> None:
        self.waiting.append(work)
        self.workers.wake()


@pytest.fixture(name="workers")
def _workers() -> Iterator[Workers]:
    made = Workers(1)
    yield made
    made.shutdown()


def _busy(source: Source) -> threading.Event:
    """Keep the only thread busy until the event is set."""
    begun, free = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        free.wait(PATIENCE_S)

    source.put(work)
    assert begun.wait(PATIENCE_S)
    return free


def _wait_for_idle(source: Source) -> None:
    """Wait until all that was put before is done."""
    done = threading.Event()
    source.put(done.set)
    assert done.wait(PATIENCE_S)


def test_the_most_urgent_goes_first_and_of_two_the_first_come(workers: Workers) -> None:
    done: list[str] = []
    sources = {urgency: Source(workers, urgency) for urgency in (Urgency.PREPARE, Urgency.FINISH)}
    free = _busy(sources[Urgency.PREPARE])
    for number in range(2):
        for urgency, source in sources.items():
            source.put(lambda name=f"{urgency.name} {number}": done.append(name))
    free.set()
    _wait_for_idle(sources[Urgency.PREPARE])
    assert done == ["FINISH 0", "FINISH 1", "PREPARE 0", "PREPARE 1"]


def test_sources_of_one_urgency_take_turns_and_one_that_is_removed_is_not_asked(
    workers: Workers,
) -> None:
    done: list[str] = []
    sources = [Source(workers, Urgency.BATCH) for _ in range(3)]
    free = _busy(sources[0])
    for index, source in enumerate(sources):
        for number in range(2):
            source.put(lambda name=f"{index}.{number}": done.append(name))
    workers.remove(Urgency.BATCH, sources[2].take)
    free.set()
    _wait_for_idle(Source(workers, Urgency.PREPARE))
    assert done == ["1.0", "0.0", "1.1", "0.1"]


def test_a_mistake_takes_no_thread_away(workers: Workers, caplog: pytest.LogCaptureFixture) -> None:
    source = Source(workers, Urgency.BATCH)
    source.put(lambda: print(1 // 0))
    _wait_for_idle(source)
    assert "work failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_what_waits_at_the_shutdown_is_done(workers: Workers) -> None:
    source, done = Source(workers, Urgency.PREPARE), threading.Event()
    free = _busy(source)
    source.put(done.set)
    workers.shutdown()
    free.set()
    assert done.wait(PATIENCE_S)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a niceness on Linux only")
def test_workers_let_the_event_loop_go_first(workers: Workers) -> None:
    found: list[int] = []

    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    source = Source(workers, Urgency.BATCH)
    source.put(lambda: found.append(niceness()))
    _wait_for_idle(source)
    assert found == [min(19, niceness() + NICER)]
