"""Structured logs: one JSON object a line, written by a thread of its own.

The event loop only keeps a record: a slow terminal or disk never delays an answer.
"""

import logging
import sys
import threading
from collections import deque
from datetime import UTC, datetime
from typing import Literal, TextIO

from pydantic_core import to_json

EXTRA = "fields"
EVERY_S = 0.1


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
        return to_json(entry, fallback=str).decode()


class TextFormatter(logging.Formatter):
    """The same for people."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = getattr(record, EXTRA, {})
        return super().format(record) + "".join(f" {k}={v}" for k, v in fields.items())


class Collector(logging.Handler):
    """Keeps records until its thread writes them: after `EVERY_S`, and at once from a warning on.

    Waking the thread for every request would cost the event loop more than writing the line: each
    time, the interpreter goes to the thread and has to be waited for.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._records: deque[logging.LogRecord] = deque()
        self._some = threading.Event()
        self._urgent = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)
        if record.levelno >= logging.WARNING:
            self._urgent.set()
        if not self._some.is_set():
            self._some.set()

    def stop(self) -> None:
        """Write what is left, and end the thread."""
        self._stopped = True
        self._urgent.set()
        self._some.set()
        self._thread.join()

    def _write(self) -> None:
        while not self._stopped or self._records:
            self._some.wait()
            self._urgent.wait(EVERY_S)
            self._some.clear()
            self._urgent.clear()
            lines = [self._line(self._records.popleft()) for _ in range(len(self._records))]
            self._stream.write("".join(lines))
            self._stream.flush()

    def _line(self, record: logging.LogRecord) -> str:
        try:
            return f"{self.format(record)}\n"
        except Exception as error:  # a line that cannot be made must not end all that follow
            return f"{record.levelname} {record.name}: a log line that cannot be told: {error!r}\n"


def start_logging(form: Literal["json", "text"]) -> Collector:
    """Send the `quincunx` loggers to stderr; stop what is returned at the end."""
    # What no line of ours tells need not be found out for every one of them.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    # Documented as the way to look up no caller.
    logging._srcfile = None  # pyright: ignore[reportPrivateUsage]
    collector = Collector(sys.stderr)
    collector.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logger = logging.getLogger("quincunx")
    logger.handlers = [collector]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return collector
