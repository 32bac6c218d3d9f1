"""Tables of Markdown as a reader sees them, through a real parser."""

from markdown_it import MarkdownIt
from markdown_it.token import Token


def cells_of(text: str) -> list[list[Token]]:
    """The inline content of every cell of every table, row by row."""
    rows: list[list[Token]] = []
    inside = False
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text):
        if token.type in ("tr_open", "tr_close"):
            inside = token.type == "tr_open"
            if inside:
                rows.append([])
        elif token.type == "inline" and inside:
            rows[-1].append(token)
    return rows


def read(cell: Token) -> str:
    """What a reader sees in a cell, where it is nothing but text and code."""
    children = cell.children or []
    assert {child.type for child in children} <= {"text", "code_inline"}
    return "".join(child.content for child in children)


def rows_of(text: str) -> list[list[str]]:
    """Every row of every table as its reader sees it, headers among them."""
    return [[read(cell).strip() for cell in row] for row in cells_of(text)]
