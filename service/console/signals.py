"""SIGTERM as an exception, so that a command cleans up before it ends."""

from typing import NoReturn


class Terminated(KeyboardInterrupt):
    """SIGTERM. A command ends as it does on Ctrl-C: half-written files are removed."""


def terminate(*_: object) -> NoReturn:
    """A handler for SIGTERM.

    Raises:
        Terminated: always.
    """
    raise Terminated
