"""Run a notebook as a notebook program does: all code cells in one process, one after another.

`python -m tests.support.notebook FILE.ipynb OUT.json` writes one object for each code cell: what it
printed, and what its last expression shows (HTML if it has any, else its text). Jupyter is not
needed. It would bring over twenty packages, of which the tests need none.
"""

import ast
import contextlib
import io
import json
import sys
import types
from pathlib import Path
from typing import Any


def code_cells(notebook: Path) -> list[str]:
    """The sources of the code cells, in order."""
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def run(cells: list[str]) -> list[dict[str, str]]:
    """Run the cells in one namespace. An error of a cell ends the run as it ends a script."""
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    return [_run_cell(source, number, module.__dict__) for number, source in enumerate(cells, 1)]


def _run_cell(source: str, number: int, names: dict[str, Any]) -> dict[str, str]:
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    where = f"cell {number}"
    value: Any = None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, where, "exec"), names)  # noqa: S102
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), where, "eval"), names)  # noqa: S307
    found = {"printed": printed.getvalue()}
    if value is not None:
        as_html = getattr(value, "_repr_html_", None)
        found |= {"html": as_html()} if as_html else {"text": repr(value)}
    return found


if __name__ == "__main__":
    file, out = map(Path, sys.argv[1:])
    out.write_text(json.dumps(run(code_cells(file))), "utf-8")
