"""Markdown with names in it: a class name may hold a pipe, a backtick or HTML."""

import re
from collections.abc import Iterable

from service.console.text import shown

# Markdown ignores an underscore between letters or digits, so five_crop stays readable.
_SPECIAL = re.compile(r"[\\`*\[\]<>&|~$#]|(?<![^\W_])_|_(?![^\W_])")
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}


class Markdown(str):
    """Text that is Markdown already: `table` writes it as it is."""

    __slots__ = ()


def plain(text: object) -> Markdown:
    """`text` as Markdown that renders as exactly this text, on one line, also in a table's cell."""
    return Markdown(_SPECIAL.sub(_escaped, shown(text)))


def code(text: object) -> Markdown:
    """`text` as a code span; as `plain` if it contains a pipe.

    A code span in a table's cell must escape a pipe, and outside of tables it cannot. The fence is
    longer than any run of backticks in the text.
    """
    inside = shown(text)
    if "|" in inside or not inside.strip():
        return plain(inside)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", inside)), default=0))
    # A renderer strips one space from each end; it keeps the fence apart from the text.
    space = " " if inside.strip() != inside or inside[0] == "`" or inside[-1] == "`" else ""
    return Markdown(f"{fence}{space}{inside}{space}{fence}")


def table(
    columns: Iterable[object],
    rows: Iterable[Iterable[object]],
    align: str = "",
) -> str:
    """A Markdown table with one line for each row.

    Cells that are not `Markdown` are escaped. `align` has a letter for each column, `l` or `r`, as
    in `lrr`; missing letters are `l`.
    """
    header = list(columns)
    rules = ["--:" if side == "r" else "---" for side in align.ljust(len(header), "l")]
    lines = [_line(header), f"| {' | '.join(rules)} |", *map(_line, rows)]
    return "\n".join(lines)


def _line(cells: Iterable[object]) -> str:
    return f"| {' | '.join(c if isinstance(c, Markdown) else plain(c) for c in cells)} |"


def _escaped(match: re.Match[str]) -> str:
    return _ENTITIES.get(match[0]) or f"\\{match[0]}"
