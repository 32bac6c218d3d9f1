"""Structured logs: one JSON object in each line, written by a separate thread.

The event loop only queues a record, so a slow terminal or disk never delays an answer.
"""

import logging
import re
import sys
import threading
from collections import deque
from datetime import UTC, datetime
from typing import Literal, TextIO

from pydantic_core import to_json

from service.console.text import in_json_log, json_text, shown

EXTRA = "fields"
_NEEDS_QUOTES = re.compile(r'[\s"=]')
EVERY_S = 0.1
MOST_RECORDS = 10_000
"""The most records that wait for a slow stream. More are dropped, and the log says how many."""
STOP_S = 3.0


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON, with the keys of `extra={"fields": {...}}`."""

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
        try:
            line = to_json(entry, fallback=str).decode()
        except ValueError:  # text that UTF-8 cannot hold
            line = json_text({key: _plain(value) for key, value in entry.items()})
        return in_json_log(line)


class TextFormatter(logging.Formatter):
    """A record as text for people: one line, and a traceback below it, indented.

    So no text from outside can look like a line of its own, or like another field.
    """

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = getattr(record, EXTRA, {})
        told = "".join(f" {key}={_quoted(value)}" for key, value in fields.items())
        name = f"{self.formatTime(record)} {record.levelname} {record.name}"
        lines = [f"{name}: {shown(record.getMessage())}{told}"]
        if record.exc_info:
            lines += self.formatException(record.exc_info).splitlines()
        elif record.exc_text:
            lines += record.exc_text.splitlines()
        return "\n  ".join(lines[:1] + [shown(line) for line in lines[1:]])


def _plain(value: object) -> object:
    return value if isinstance(value, int | float | bool | None) else str(value)


def _quoted(value: object) -> str:
    text = shown(value)
    return json_text(text) if not text or _NEEDS_QUOTES.search(text) else text


class Collector(logging.Handler):
    """Keeps records until its thread writes them: after `EVERY_S`, or at once for warnings.

    Waking the thread for every request would cost the event loop more than writing the line,
    because the thread takes the interpreter each time.

    If the stream cannot be written (a full disk, a reader that left), lines are lost, and nothing
    else happens. Their number is logged when the stream works again.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._records: deque[logging.LogRecord] = deque()
        self._dropped = 0
        """Dropped lines, because the queue was full. The threads that log count them."""
        self._failed = 0
        """Lost lines, because the stream failed. The thread that writes counts them."""
        self._told = 0
        """The part of both numbers that the log already reports."""
        self._some = threading.Event()
        self._urgent = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        if len(self._records) >= MOST_RECORDS:
            self._dropped += 1
            return
        self._records.append(record)
        if record.levelno >= logging.WARNING:
            self._urgent.set()
        if not self._some.is_set():
            self._some.set()

    def stop(self) -> None:
        """Write the remaining lines and end the thread. Waits only briefly for a blocked stream."""
        self._stopped = True
        self._urgent.set()
        self._some.set()
        self._thread.join(STOP_S)

    def _write(self) -> None:
        while not self._stopped or self._records:
            self._some.wait()
            self._urgent.wait(EVERY_S)
            self._some.clear()
            self._urgent.clear()
            lines = [self._line(self._records.popleft()) for _ in range(len(self._records))]
            lost = self._dropped + self._failed - self._told
            loss = [self._line(_loss(lost))] if lost else []
            try:
                self._stream.write("".join(lines + loss))
                self._stream.flush()
            except (
                OSError,
                ValueError,
            ):  # full, closed or gone: an error could not be logged anywhere
                self._failed += len(lines)
            else:
                self._told += lost

    def _line(self, record: logging.LogRecord) -> str:
        try:
            return f"{self.format(record)}\n"
        except Exception as error:  # a record that cannot be formatted must not stop the later ones
            return f"{record.levelname} {record.name}: a log line that cannot be told: {error!r}\n"


def _loss(lines: int) -> logging.LogRecord:
    text = "up to %d log lines were lost: the stream could not be written"
    return logging.LogRecord("quincunx.logs", logging.WARNING, "", 0, text, (lines,), None)


def start_logging(form: Literal["json", "text"]) -> Collector:
    """Send the `quincunx` loggers to stderr. The caller must stop the returned handler."""
    # Our lines do not show these facts, so logging need not collect them for each record.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    # The documentation of logging recommends this to skip the search for the caller.
    logging._srcfile = None  # pyright: ignore[reportPrivateUsage]
    collector = Collector(sys.stderr)
    collector.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    for name in logging.root.manager.loggerDict:
        if name.startswith("quincunx."):  # BentoML disables those that it finds
            logging.getLogger(name).disabled = False
    logger = logging.getLogger("quincunx")
    logger.disabled = False
    logger.handlers = [collector]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return collector
