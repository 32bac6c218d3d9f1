"""Structured logs: one JSON object a line, written by a thread of its own.

The event loop only puts a record into a queue: a slow terminal or disk never delays an answer.
"""

import json
import logging
import logging.handlers
import queue
import sys
from datetime import UTC, datetime
from typing import Literal

EXTRA = "fields"


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON; `extra={"fields": {...}}` is laid into it."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, EXTRA, {}),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        elif record.exc_text:
            entry["traceback"] = record.exc_text
        return json.dumps(entry, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """The same for people."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = getattr(record, EXTRA, {})
        return super().format(record) + "".join(f" {k}={v}" for k, v in fields.items())


class Forward(logging.handlers.QueueHandler):
    """Hand records over as they are: the listener lives in this process and formats them."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record


def start_logging(form: Literal["json", "text"]) -> logging.handlers.QueueListener:
    """Send the `quincunx` loggers to stderr through a queue; stop what is returned at the end."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    listener = logging.handlers.QueueListener(records, handler)
    # What a sender got wrong is in the answer; a line a byte of it would fill the log.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    logger = logging.getLogger("quincunx")
    logger.handlers = [Forward(records)]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    listener.start()
    return listener
