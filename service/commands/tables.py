"""Tables on a terminal, and whole where there is none."""

from rich.console import Console
from rich.table import Table

PIPED_WIDTH = 400


def print_table(table: Table) -> None:
    """Print to stdout: fitted to a terminal; into a pipe or a file nothing is wrapped or cut."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPED_WIDTH)
    console.print(table)
