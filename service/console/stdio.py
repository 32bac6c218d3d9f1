"""Lines and JSON on stdout and stderr, in any locale and with any names in them."""

import errno
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any

from service.console.text import json_text, shown
from service.errors import OutputError


def open_missing_streams() -> None:
    """Open the null device for each of stdin, stdout and stderr that is closed (`>&-`).

    Python sets a closed stream to None. The next file that is opened would take its descriptor, and
    a library that writes to descriptor 2 would write into that file.
    """
    modes = {"stdin": "r", "stdout": "w", "stderr": "w"}
    for descriptor, (name, mode) in enumerate(modes.items()):
        if getattr(sys, name) is not None:
            continue
        opened = os.open(os.devnull, os.O_RDWR)
        if opened != descriptor:
            os.dup2(opened, descriptor)
            os.close(opened)
        os.set_inheritable(descriptor, True)
        setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def survive_any_encoding() -> None:
    r"""Let stdout and stderr write `\xNN` for a character that their encoding cannot hold.

    Otherwise a terminal that is not UTF-8 ends a command with a traceback after its work is done.
    """
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")


def log(message: object) -> None:
    """A line for people, on stderr. If it cannot be written (a full disk), the work goes on."""
    with suppress(OSError):
        print(shown(message), file=sys.stderr, flush=True)


@contextmanager
def writing_stdout(stream: Any = None) -> Generator[None]:
    """Make an OutputError of a failed write. A reader that left (`| head`) stays a BrokenPipeError.

    Raises:
        OutputError: stdout, or `stream` in its place, cannot be written.
    """
    stream = stream or sys.stdout
    try:
        yield
        stream.flush()
    except OSError as error:
        if error.errno != errno.EPIPE:
            _drop(stream)
            reason = error.strerror or str(error)
            raise OutputError(f"standard output cannot be written: {reason}") from error
        raise


def _drop(stream: Any) -> None:
    """Discard the buffered output. Writing it at exit would fail again, with a traceback."""
    try:
        descriptor = stream.fileno()
    except (AttributeError, OSError):  # a stream in memory
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def saying_once() -> Callable[[object], None]:
    """A `log` for a command of several steps: it prints each message once."""
    said: set[str] = set()

    def say_new(message: object) -> None:
        line = str(message)
        if line not in said:
            said.add(line)
            log(line)

    return say_new


def answer(line: object) -> None:
    """A line of the result, on stdout."""
    with writing_stdout():
        print(shown(line))


def print_json(value: object, *, indent: int | None = 2) -> None:
    """`value` as JSON on stdout, valid in every encoding that stdout may have."""
    encoding = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "")
    with writing_stdout():
        print(json_text(value, indent=indent, ascii_only=encoding != "utf8"))
