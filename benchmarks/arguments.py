"""The command line of a benchmark: its help, and how a page of results quotes it."""

import argparse
import shlex
import sys
from collections.abc import Sequence


class _Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Keeps the lines of the description, and adds every default that says something."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False, []) or "default" in (action.help or ""):
            return action.help
        return super()._get_help_string(action)


def parser_of(benchmark: str, description: str | None) -> argparse.ArgumentParser:
    """The parser of ``python -m benchmarks.BENCHMARK``; `description` is the module's docstring."""
    return argparse.ArgumentParser(
        prog=f"python -m benchmarks.{benchmark}",
        description=(description or "").replace("``", "`"),
        formatter_class=_Help,
    )


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
