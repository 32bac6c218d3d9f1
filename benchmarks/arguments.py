"""The command line of a benchmark: its name, its docstring as help, and defaults in the help."""

import argparse


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
