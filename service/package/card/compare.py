"""Compare a model card with its manifest: does it say something else?

Only facts in the form that `document.render` gives them are compared: the title, and cells of
tables. Other text may be a user's own, or that of another version.
"""

import re
from collections.abc import Iterator

from service.package.card.document import CARD, render
from service.package.contained import read_bytes
from service.package.manifest import Manifest
from service.package.package import MANIFEST, ModelPackage

MAX_CARD_BYTES = 4 * 1024 * 1024
ROW_NAMES = ("file", "precision", "TTA", "compared with")
"""Columns that name a row; the others hold its values."""
CERTAIN = (
    "size", "top-1 (95% interval)", "mean average precision (95% interval)", "corrected",
    "difference (95%)", "temperature",
)  # fmt: skip
"""Columns of our tables. One that the manifest has no values for contradicts it."""
_TITLE = re.compile(r"# (.+), version (\S+)")
_CELL = re.compile(r"(?<!\\)\|")

Cells = dict[str, dict[tuple[str, ...], str]]
"""Column, then the names of the row, to the cell."""


def difference(package: ModelPackage) -> str:
    """The first fact that the card of `package` states otherwise; "" if there is none.

    A package without a card has no difference.

    Raises:
        ModelPackageError: the card cannot be read.
    """
    if not (package.folder / CARD).exists():
        return ""
    text = read_bytes(package.folder, CARD, MAX_CARD_BYTES).decode("utf-8", "replace")
    return compare(text, package.manifest)


def compare(card: str, manifest: Manifest) -> str:
    """As `difference`, of the text of a card."""
    title = _TITLE.fullmatch(card.partition("\n")[0].strip())
    own = f"{manifest.name}, version {manifest.version}"
    if title and ", version ".join(title.groups()) != own:
        return f"{CARD} is of {', version '.join(title.groups())}, but {MANIFEST} of {own}"
    said, meant = _cells(card), _cells(render(manifest))
    for column, cells in said.items():
        if column not in meant and column not in CERTAIN:
            continue
        expected = meant.get(column, {})
        for row in dict.fromkeys((*cells, *expected)):
            if cells.get(row) != expected.get(row):
                return (
                    f"{CARD} has {_shown(cells.get(row))} for {column} of {' '.join(row)}, but "
                    f"{MANIFEST} has {_shown(expected.get(row))}"
                )
    return ""


def _shown(cell: str | None) -> str:
    return "no row" if cell is None else repr(cell) if cell else "no value"


def _cells(text: str) -> Cells:
    found: Cells = {}
    for columns, rows in _tables(text):
        names = [i for i, column in enumerate(columns) if column in ROW_NAMES]
        if "precision" not in columns:
            continue
        for row in rows:
            if len(row) != len(columns):
                continue
            key = tuple(row[i] for i in names)
            for i, column in enumerate(columns):
                if i not in names:
                    found.setdefault(column, {})[key] = row[i]
    return found


def _tables(text: str) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Header and rows of each Markdown table."""
    table: list[list[str]] = []
    for line in (*text.splitlines(), ""):
        line = line.strip()
        if line.startswith("|"):
            table.append([cell.strip() for cell in _CELL.split(line.strip("|"))])
        elif table:
            yield table[0], table[2:]
            table = []
