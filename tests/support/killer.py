"""Kill `quincunx score` at random moments until it has had enough chances to lose something.

    python -m tests.support.killer KILLS SEED FOLDER PACKAGE OUT

A process that has imported everything forks a child for each run, so that a run is killed in its
work and not in its imports; each is the real command, ended by a real SIGKILL. Prints one JSON
object: for every kill, how many rows were finished and whether OUT was there.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq

from service.cli import app
from service.commands import score as _score  # noqa: F401  # imported before the fork
from service.inference import predictor as _predictor  # noqa: F401
from service.scoring import output, ray_engine, stream, terminal  # noqa: F401

CHUNK_IMAGES = 8


def start(arguments: list[str]) -> int:
    """Fork a child that runs the command; returns its process id."""
    child = os.fork()
    if child:
        return child
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    try:
        app(["score", *arguments], standalone_mode=True)
    except SystemExit as stop:
        os._exit(int(stop.code or 0))
    finally:
        os._exit(70)


def running(child: int) -> bool:
    """Whether a child has not ended; it is not reaped."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def finish(child: int) -> int:
    """Wait for a child: its exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def finished_parts(folder: Path) -> list[Path]:
    """The parts in `folder`; none once the child has removed it, which it may do meanwhile."""
    try:
        return list(folder.glob("part-*.parquet"))
    except FileNotFoundError:
        return []


def main(kills: int, seed: int, folder: str, package: str, out: str) -> None:
    output.PART_ROWS = CHUNK_IMAGES  # a part after every chunk: many moments to die in
    chance = random.Random(seed)
    parts = Path(f"{out}.partial")
    common = ["--model", package, "--no-timing", "--chunk-images", str(CHUNK_IMAGES)]
    assert finish(start([folder, "-o", f"{out}.whole.parquet", *common])) == 0
    seen = []
    while len(seen) < kills:
        child = start([folder, "-o", out, *common])
        # A moment within the next few parts, however fast this machine is just now.
        more = chance.randrange(4)
        before = len(finished_parts(parts))
        while running(child) and len(finished_parts(parts)) < before + more:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.02))
        os.kill(child, signal.SIGKILL)
        code = finish(child)
        there = Path(out).exists()
        rows = sum(pq.read_metadata(part).num_rows for part in finished_parts(parts))
        seen.append({"code": code, "there": there, "rows": rows})
        if there:
            assert Path(out).read_bytes() == Path(f"{out}.whole.parquet").read_bytes()
            # As after any kill: the same command must be content.
            assert finish(start([folder, "-o", out, *common])) == 0
            assert not parts.exists()
            Path(out).unlink()
    code = finish(start([folder, "-o", out, *common]))
    print(json.dumps({"kills": seen, "code": code, "partial_left": parts.exists()}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
