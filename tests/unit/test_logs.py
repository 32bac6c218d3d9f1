"""The request log: every line is written, in order, and none can stop the others."""

import io
import json
import logging
import time

from service.api.logs import EVERY_S, Collector, JsonFormatter

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
