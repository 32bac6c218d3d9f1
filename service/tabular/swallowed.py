"""Find and refuse a cell that swallowed rows: two stray quotes can make one cell of many rows."""

import re
from collections.abc import Collection
from os.path import splitext

from service.errors import DataError
from service.tabular.delimited import Record

LINE_END = re.compile(r"\r\n|\n|\r")


def check_spans(
    record: Record,
    separator: str | None,
    width: int,
    path_at: int,
    one_line: Collection[int],
    name: str,
) -> None:
    """Refuse a record of several lines that may have swallowed rows.

    `width` is the number of cells in the header, `path_at` the column of paths, and `one_line` are
    the columns whose cells never hold a line break, such as labels.

    Raises:
        DataError: a `one_line` cell holds a line break, a line inside a cell looks like a row with
            a path, or the record has another number of cells than the header.
    """
    if record.line == record.last_line:
        return
    suspect = next(
        (
            at
            for at, cell in enumerate(record.cells)
            if LINE_END.search(cell)
            and (at in one_line or _holds_row(record, at, separator, width, path_at))
        ),
        None,
    )
    if suspect is None and len(record.cells) == width:
        return
    what = (
        f"has {len(record.cells)} cells, but the header has {width}"
        if suspect is None
        else f"holds line breaks in cell {suspect + 1}, where other rows may have been swallowed"
    )
    raise DataError(
        f"{name}, lines {record.line} to {record.last_line}: one row spans these lines and {what}; "
        "is a quote missing, or one too many?"
    )


def _holds_row(
    record: Record, column: int, separator: str | None, width: int, path_at: int
) -> bool:
    """Whether a line inside a cell has as many cells as a row, and a path where a row has it.

    A path is known by the suffix that the record's own path has. The last line of the cell ends
    where the cell does, so that it is a row cut after this column.
    """
    first, *others = LINE_END.split(record.cells[column])
    if path_at >= len(record.cells):
        return False
    suffix = splitext(first if column == path_at else record.cells[path_at])[1].casefold()
    if not suffix:
        return False
    for number, line in enumerate(others, 1):
        cells = [line] if separator is None else line.split(separator)
        wanted = {width, column + 1} if number == len(others) else {width}
        is_row = len(cells) in wanted and path_at < len(cells)
        if is_row and splitext(cells[path_at])[1].casefold() == suffix:
            return True
    return False
