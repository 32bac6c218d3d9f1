"""Streams that are closed or full: the work goes on."""

import os
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


def test_streams_that_are_closed_are_like_the_null_device(tmp_path: Path) -> None:
    """Without a stand-in the opened file would have descriptor 2, and the library's line in it."""
    kept = tmp_path / "kept"
    code = (
        "import os, sys\n"
        "from service.console.stdio import open_missing_streams, survive_any_encoding\n"
        "open_missing_streams(); survive_any_encoding()\n"
        f"kept = open({str(kept)!r}, 'w')\n"
        "print('to nobody'); print('to nobody', file=sys.stderr, flush=True)\n"
        "os.write(2, b'a line of a library')\n"
        "kept.write(repr(sys.stdin.read()))\n"
    )
    closed = f'exec "{sys.executable}" -c "$CODE" <&- >&- 2>&-'
    done = subprocess.run(["sh", "-c", closed], env={**os.environ, "CODE": code}, cwd=ROOT)
    assert done.returncode == 0
    assert kept.read_text() == "''"
