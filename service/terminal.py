"""Where text for people goes: as wide as the terminal, and whole where there is none."""

from rich.console import Console

PIPED_WIDTH = 400


def console(*, stderr: bool = False) -> Console:
    """A console on stdout or stderr; into a pipe or a file no table is wrapped or cut."""
    made = Console(stderr=stderr, highlight=False, soft_wrap=True)
    if not made.is_terminal:
        made.width = PIPED_WIDTH
    return made
