"""Lines on stderr: where they cannot be written, the work goes on."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_behind_stderr_does_not_end_the_work() -> None:
    code = "from service.console.stdio import log\nlog('a line')\nprint('done')"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=full, text=True, cwd=ROOT
        )
    assert (done.returncode, done.stdout) == (0, "done\n")
