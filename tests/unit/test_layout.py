"""The layout that CONTRIBUTING promises: small folders, small files, no import cycles."""

import ast
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from service.api.page import FILES, FOLDER

ROOT = Path(__file__).parents[2]
ROOMS = ("quincunx", "service", "training")
MOST_FILES = 15
MOST_LINES = 350

SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
ALL = [*SOURCES, *(p for room in ("benchmarks", "tests") for p in (ROOT / room).rglob("*.py"))]
PAGE = [FOLDER / name for name in FILES]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in SOURCES
}


def test_no_folder_has_too_many_source_files() -> None:
    files = [*(path for path in SOURCES if path.name != "__init__.py"), *PAGE]
    counts = Counter(path.parent for path in files)
    assert {str(f.relative_to(ROOT)): n for f, n in counts.items() if n > MOST_FILES} == {}


def test_no_file_is_too_long() -> None:
    files = [*ALL, *PAGE]
    lines = {str(p.relative_to(ROOT)): len(p.read_text("utf-8").splitlines()) for p in files}
    assert {path: count for path, count in lines.items() if count > MOST_LINES} == {}


def run_at_import(body: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that run when a module is imported: not in functions, not for types only."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from run_at_import(node.orelse)
        elif isinstance(node, ast.If | ast.Try | ast.With | ast.ClassDef):
            for part in ("body", "orelse", "handlers", "finalbody"):
                for inner in getattr(node, part, []):
                    yield from run_at_import(getattr(inner, "body", None) or [inner])


def imports_of(source: str) -> set[str]:
    """The modules of this project that a source file imports when it is imported itself."""
    found: set[str] = set()
    for node in run_at_import(ast.parse(source).body):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & MODULES.keys()
        elif node.module and not node.level:
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & MODULES.keys()
            found |= inner or ({node.module} & MODULES.keys())
    return found


def check_order(imports: dict[str, set[str]]) -> None:
    """Raises CycleError, with the modules of the cycle, if they cannot be imported in turn."""
    TopologicalSorter(imports).prepare()


def test_no_modules_import_each_other() -> None:
    check_order({name: imports_of(path.read_text("utf-8")) for name, path in MODULES.items()})


def test_a_cycle_would_be_found() -> None:
    first, second = "service.errors", "service.settings"
    imports = {
        first: imports_of(f"if True:\n    from service import {second.partition('.')[2]}"),
        second: imports_of(f"def later():\n    import json\nimport {first}"),
    }
    with pytest.raises(CycleError):
        check_order(imports)
    assert imports_of(f"def later():\n    import {first}") == set()
