"""Tables and text for people: as wide as the terminal, or uncut if there is no terminal."""

from typing import Any

from rich.console import Console
from rich.text import Text

from service.console.text import shown

PIPED_WIDTH = 400


class PlainConsole(Console):
    """A console that prints every text literally: no markup, no emoji names, no control characters.

    Names of files and classes may contain `[b]` or an escape code. The terminal must not obey them.
    Use `rich.text.Text` for text with a style.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        """Make a `Text` of a text that is printed or stands in a table's cell."""
        options.update(markup=False, emoji=False)
        return super().render_str(shown(text), **options)


def console(*, stderr: bool = False) -> Console:
    """A console on stdout or stderr. In a pipe or a file no table is wrapped or cut."""
    made = PlainConsole(stderr=stderr, highlight=False, soft_wrap=True)
    if not made.is_terminal:
        made.width = PIPED_WIDTH
    return made
