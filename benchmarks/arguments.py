"""The command line of a benchmark: its help, its errors, and how a page of results quotes it."""

import argparse
import math
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, get_args

from service.errors import QuincunxError
from service.package.manifest import Mode, Precision

MODES = [mode for mode in get_args(Mode) if mode != "custom"]  # its boxes are not an option here
PRECISIONS = ["auto", *get_args(Precision)]


class _Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Keeps the lines of the description, and adds every default that says something."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False, []) or "default" in (action.help or ""):
            return action.help
        if isinstance(action.default, (list, tuple)):
            return f"{action.help} (default: {' '.join(map(str, action.default))})"
        return super()._get_help_string(action)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line. `--help` has the rest."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see --help\n")


def parser_of(benchmark: str, description: str | None) -> argparse.ArgumentParser:
    """The parser of ``python -m benchmarks.BENCHMARK``; `description` is the module's docstring."""
    return _Parser(
        prog=f"python -m benchmarks.{benchmark}",
        description=(description or "").replace("``", "`"),
        formatter_class=_Help,
    )


def run_benchmark(main: Callable[[], None]) -> None:
    """Run a benchmark. An error that the product explains is one line, without a traceback."""
    try:
        main()
    except QuincunxError as error:
        raise SystemExit(str(error)) from error


def count(text: str) -> int:
    """Read a whole number from 1, for argparse."""
    return _whole(text, 1)


def count_or_zero(text: str) -> int:
    """Read a whole number from 0."""
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise argparse.ArgumentTypeError(f"must be a whole number from {least}, but got {text!r}")
    return int(text)


def amount(text: str) -> float:
    """Read a positive number, such as of seconds."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"must be a positive number, but got {text!r}")
    return number


def folder_path(text: str) -> Path:
    """Read the path of a folder that exists."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text}")
    return Path(text)


def checkout_path(text: str) -> Path:
    """Read the path of another checkout of this repository."""
    if not Path(text, "service", "cli.py").is_file():
        raise argparse.ArgumentTypeError(f"{text} is no checkout of Quincunx: no service/cli.py")
    return Path(text)


def command_line(benchmark: str, arguments: Sequence[str] | None = None) -> str:
    """The command as a page quotes it, so that a reader can run it elsewhere.

    Absolute paths belong to this machine: only their last name is shown. `--out` is left out.
    `arguments` is `sys.argv[1:]` by default.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    shown: list[str] = []
    while given:
        one = given.pop(0)
        if one == "--out":
            given[:1] = []
        elif not one.startswith("--out="):
            shown.append(one.rstrip("/").rpartition("/")[2] if one.startswith("/") else one)
    return shlex.join(["python", "-m", f"benchmarks.{benchmark}", *shown])
