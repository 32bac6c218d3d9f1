"""The walls between the rooms: `service` lives without `training`, torch and fastai."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN = frozenset({"torch", "torchvision", "fastai", "training", "tests", "benchmarks"})
FILES = sorted((ROOT / "service").rglob("*.py"))


def imported(path: Path) -> set[str]:
    """The top-level packages that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_of_the_service_imports_from_another_room(path: Path) -> None:
    assert not imported(path) & FORBIDDEN


def test_every_module_of_the_service_imports_without_torch_or_training() -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in FILES
    ]
    code = f"""
import importlib, sys

class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {sorted(FORBIDDEN)}:
            raise ImportError(f"behind the wall: {{name}}")

sys.meta_path.insert(0, Wall())
for name in {modules}:
    importlib.import_module(name)
print(len({modules}), "modules")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{len(modules)} modules"


def test_the_package_folder_holds_no_python() -> None:
    assert not list((ROOT / "models").rglob("*.py"))
