"""docs/quickstart.ipynb runs from its first cell to its last, and is kept without outputs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from service.package.verify import verify
from tests.support import notebook
from tests.support.installed import python_path
from tests.support.shipped import ROOT

NOTEBOOK = ROOT / "docs" / "quickstart.ipynb"


def test_it_is_kept_without_outputs() -> None:
    content = json.loads(NOTEBOOK.read_text("utf-8"))
    assert (content["nbformat"], content["metadata"]["kernelspec"]["name"]) == (4, "python3")
    for cell in content["cells"]:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None


def test_it_runs_and_shows_pictures(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.notebook", str(NOTEBOOK), str(out)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": python_path(tmp_path / "installed")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    cells = json.loads(out.read_text())
    assert len(cells) == len(notebook.code_cells(NOTEBOOK))
    many, one = cells[-2:]
    assert many["html"].count("<img") >= 3
    assert "five_crop, cost 5.0 crops" in many["html"]
    assert one["html"].count("<img") == 1
    assert one["printed"].split()[0] in ("circle", "square", "triangle")
    with Image.open(tmp_path / "quickstart" / "answer.png") as picture:
        assert picture.width > 300
    manifest = verify(tmp_path / "quickstart" / "package").manifest
    assert {file.precision for file in manifest.files} == {"fp32", "int8"}
    best = max(row.top1 for row in manifest.metrics)
    assert best > 0.8, "a network that learned nothing is right for a third"


def test_the_runner_shows_what_a_notebook_would() -> None:
    cells = ["import math\nx = 2", "print(x)\nmath.sqrt(x * 2)", "x = 3;", "class H:\n"
             "    def _repr_html_(self): return f'<b>{x}</b>'\nH()"]  # fmt: skip
    main = sys.modules["__main__"]
    try:
        shown = notebook.run(cells)
    finally:
        sys.modules["__main__"] = main
    assert shown == [
        {"printed": ""},
        {"printed": "2\n", "text": "2.0"},
        {"printed": ""},
        {"printed": "", "html": "<b>3</b>"},
    ]


def test_an_error_in_a_cell_is_an_error() -> None:
    main = sys.modules["__main__"]
    try:
        with pytest.raises(ZeroDivisionError):
            notebook.run(["1 / 0"])
    finally:
        sys.modules["__main__"] = main
