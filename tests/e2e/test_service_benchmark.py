"""`python -m benchmarks.service` runs to its end and says what it found; no figure is judged."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOGETHER = ["--seconds", "0.3", "--users", "2", "--overload-seconds", "1", "--overloads", "2"]
TOGETHER += ["--attack-seconds", "0.3", "--server-processes", "1", "--image-size", "64x48"]
ROUNDS = {"saturation": "1"}
"""For the part with the most cases; two rounds for the others."""


@pytest.mark.parametrize(
    ("what", "promises"),
    [
        *[("saturation", 3), ("intake", 3), ("steady", 2)],
        *[("overload", 6), ("attack", 6), ("versions", 2)],
    ],
)
def test_each_part_writes_its_verdicts(
    package: Path, tmp_path: Path, what: str, promises: int
) -> None:
    command = [sys.executable, "-m", "benchmarks.service", str(package), what, *TOGETHER]
    command += ["--rounds", ROUNDS.get(what, "2")]
    if what == "versions":
        command += ["--against", str(ROOT)]
    environment = os.environ | {"BENTOML_HOME": str(tmp_path / "bentoml")}
    done = subprocess.run(
        [*command, "--out", str(tmp_path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 1), done.stderr
    found = json.loads((tmp_path / f"service-{what}.json").read_text())
    assert len(found["verdicts"]) == promises
    assert done.returncode == (0 if all(v["kept"] for v in found["verdicts"]) else 1)
    assert "| promise | measured |" in (tmp_path / f"service-{what}.md").read_text()
    assert done.stdout.startswith(f"# The service: {what}")
