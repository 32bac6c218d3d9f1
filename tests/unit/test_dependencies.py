"""What is installed for serving, in a bento as anywhere else."""

import subprocess
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from pathspec import PathSpec

ROOT = Path(__file__).parents[2]
NOT_SERVED = ("fsspec", "httpcore", "rich")
"""What scoring, the client and the terminal need. A server may have them from BentoML."""


def wanted(lines: list[str]) -> dict[str, str]:
    """Name to version, whatever the marker."""
    return {one.name: str(one.specifier) for one in map(Requirement, lines)}


@pytest.fixture(scope="module")
def declared() -> dict[str, str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return wanted(project["dependencies"])


@pytest.fixture(scope="module")
def bento() -> dict[str, str]:
    return wanted(yaml.safe_load((ROOT / "bentofile.yaml").read_text())["python"]["packages"])


def test_a_bento_holds_the_dependencies_of_the_project(
    declared: dict[str, str], bento: dict[str, str]
) -> None:
    assert bento == {name: version for name, version in declared.items() if name not in NOT_SERVED}


def test_a_bento_installs_all_that_the_server_loads(
    declared: dict[str, str], bento: dict[str, str]
) -> None:
    """A bento without pyarrow did not start, because the feedback log needs it."""
    code = "import sys, service.api.app; print(*set(sys.argv[1:]) & sys.modules.keys())"
    absent = [name for name in declared if name not in bento]
    loaded = subprocess.run(
        [sys.executable, "-c", code, *absent],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert set(loaded) <= brought("bentoml")


def brought(name: str) -> set[str]:
    """The packages that `name` needs, and those that they need."""
    found: set[str] = set()
    todo = [name]
    while todo:
        for one in map(Requirement, requires(todo.pop()) or ()):
            needed = one.marker is None or one.marker.evaluate({"extra": ""})
            if needed and one.name not in found:
                found.add(one.name)
                todo.append(one.name)
    return found


@pytest.mark.parametrize("name", ["httptools", "uvloop"])
def test_every_server_parses_and_loops_in_c(
    declared: dict[str, str], bento: dict[str, str], name: str
) -> None:
    """uvicorn takes both where they are there, and says nothing where they are not."""
    assert name in declared
    assert name in bento
    assert f"\n{name}==" in (ROOT / "constraints.txt").read_text()


def test_a_bento_holds_the_files_that_the_service_reads() -> None:
    """Such as style sheets; `py.typed` is for type checkers alone."""
    included = yaml.safe_load((ROOT / "bentofile.yaml").read_text())["include"]
    files = [path for path in (ROOT / "service").rglob("*.*") if "__pycache__" not in path.parts]
    held = PathSpec.from_lines("gitignore", included)
    missing = {path.name for path in files if not held.match_file(path.relative_to(ROOT))}
    assert missing <= {"py.typed"}
