"""Lines and JSON on stdout and stderr, in any locale and whatever names they hold."""

import sys

from service.text import json_text, shown


def survive_any_encoding() -> None:
    r"""Let stdout and stderr write `\xNN` for a character that their encoding cannot hold.

    Otherwise a terminal that is not UTF-8 ends a command with a traceback after its work is done.
    """
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")


def say(message: object) -> None:
    """A line for people, on stderr."""
    print(shown(message), file=sys.stderr, flush=True)


def answer(line: object) -> None:
    """A line of the result, on stdout."""
    print(shown(line), flush=True)


def print_json(value: object, *, indent: int | None = 2) -> None:
    """`value` as JSON on stdout, valid in every encoding that stdout may have."""
    encoding = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "")
    print(json_text(value, indent=indent, ascii_only=encoding != "utf8"), flush=True)
