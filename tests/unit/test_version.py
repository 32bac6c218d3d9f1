"""The version is that of the installed code, and code that is not installed runs too."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import quincunx
from service.version import own_version

ROOT = Path(__file__).parents[2]


def test_the_version_is_the_installed_one() -> None:
    assert quincunx.__version__ == own_version() == version("quincunx")


def test_code_that_is_not_installed_says_0() -> None:
    code = (
        "import sys, importlib.metadata as found\n"
        "def absent(name): raise found.PackageNotFoundError(name)\n"
        "found.version = absent\n"
        "import quincunx; print(quincunx.__version__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "0\n"
