"""The request log: every line is written, in order, and none can stop the others."""

import errno
import io
import json
import logging
import threading
import time

import pytest

from service.api.observability import logs
from service.api.observability.logs import EVERY_S, Collector, JsonFormatter

PATIENCE_S = 30


def collector() -> tuple[Collector, io.StringIO, logging.Logger]:
    stream = io.StringIO()
    made = Collector(stream)
    made.setFormatter(JsonFormatter())
    logger = logging.Logger("quincunx.test")
    logger.addHandler(made)
    return made, stream, logger


def messages(stream: io.StringIO) -> list[str]:
    return [json.loads(line)["message"] for line in stream.getvalue().splitlines()]


def test_lines_come_in_order_and_the_last_ones_too() -> None:
    made, stream, logger = collector()
    for number in range(500):
        logger.info("%d", number, extra={"fields": {"n": number}})
        if number == 250:
            deadline = time.monotonic() + PATIENCE_S
            while len(messages(stream)) < 251 and time.monotonic() < deadline:
                time.sleep(EVERY_S)
            assert messages(stream) == [str(n) for n in range(251)]
    made.stop()
    assert messages(stream) == [str(n) for n in range(500)]
    assert json.loads(stream.getvalue().splitlines()[-1])["n"] == 499


def test_a_line_that_cannot_be_told_does_not_end_the_others() -> None:
    made, stream, logger = collector()
    logger.warning("%d of them", "many")
    logger.info("after")
    made.stop()
    broken, after = stream.getvalue().splitlines()
    assert "cannot be told" in broken
    assert json.loads(after)["message"] == "after"


class Failing(io.StringIO):
    """A stream on a disk that is full for a while."""

    full = True

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


def test_a_full_disk_loses_lines_and_the_log_says_how_many() -> None:
    stream = Failing()
    made = Collector(stream)
    made.setFormatter(JsonFormatter())
    logger = logging.Logger("quincunx.test")
    logger.addHandler(made)
    for number in range(3):
        logger.warning("lost %d", number)
    deadline = time.monotonic() + PATIENCE_S
    while made._failed < 3 and time.monotonic() < deadline:
        time.sleep(EVERY_S / 10)
    stream.full = False
    logger.warning("kept")
    made.stop()
    assert messages(stream) == [
        "kept",
        "up to 3 log lines were lost: the stream could not be written",
    ]


def test_a_stream_that_blocks_keeps_a_bounded_number_of_records(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "MOST_RECORDS", 10)
    monkeypatch.setattr(logs, "STOP_S", 0.01)
    begun, go_on = threading.Event(), threading.Event()

    class Blocking(io.StringIO):
        def write(self, text: str) -> int:
            begun.set()
            assert go_on.wait(PATIENCE_S)
            return super().write(text)

    stream = Blocking()
    made = Collector(stream)
    made.setFormatter(JsonFormatter())
    logger = logging.Logger("quincunx.test")
    logger.addHandler(made)
    logger.warning("first")
    assert begun.wait(PATIENCE_S)
    for number in range(100):
        logger.warning("%d", number)
    assert len(made._records) == 10
    made.stop()  # does not wait for ever
    go_on.set()
    made._thread.join(PATIENCE_S)
    assert messages(stream)[:11] == ["first", *map(str, range(10))]
    assert messages(stream)[11].startswith("up to 90 log lines were lost")
