"""Stop `quincunx score` at random moments, many times, to test that it loses nothing.

    python -m benchmarks.scoring.killer KILLS SEED SIGNAL PACKAGE OUT SOURCE...

SIGNAL is KILL, TERM or INT. A source `-` is fed from the file OUT.stdin. A process that has
imported everything forks a child for each run, so that a run is stopped in its work and not in its
imports; each is the real command, ended by a real signal. If too few stops have hit a run in its
middle, up to ten times as many follow. Prints one JSON object: for every stop,
how many parts were finished and whether OUT was there.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from service.cli import app
from service.commands import score as _score  # noqa: F401  # imported before the fork
from service.inference import predictor as _predictor  # noqa: F401
from service.scoring import ray_engine, stream  # noqa: F401
from service.scoring.result import output
from service.scoring.summary import terminal  # noqa: F401

CHUNK_IMAGES = 8


class Command:
    """The command under test, started as often as necessary."""

    def __init__(self, package: str, sources: list[str], standard_input: str) -> None:
        self._fixed = ["--model", package, "--no-timing", "--chunk-images", str(CHUNK_IMAGES)]
        self._sources = sources
        self._standard_input = standard_input if "-" in sources else os.devnull

    def start(self, out: str) -> int:
        """Fork a child that runs the command; returns its process id."""
        child = os.fork()
        if child:
            return child
        quiet = os.open(f"{out}.stderr", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(os.open(self._standard_input, os.O_RDONLY), 0)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(quiet, 2)
        try:
            app(["score", *self._sources, "-o", out, *self._fixed], standalone_mode=True)
        except SystemExit as stop:
            os._exit(int(stop.code or 0))
        finally:
            os._exit(70)

    def run(self, out: str) -> int:
        """Run the command to its end."""
        return finish(self.start(out))


def running(child: int) -> bool:
    """Whether a child still runs. This does not reap it."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def finish(child: int) -> int:
    """Wait for a child and return its exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def parts_in(folder: Path) -> int:
    """The number of parts; 0 while the child removes the folder."""
    try:
        return sum(name.endswith(".parquet") for name in os.listdir(folder))
    except FileNotFoundError:
        return 0


def in_the_middle(seen: list[dict[str, int]]) -> int:
    """The number of stops that hit a run with some parts finished and the result not there."""
    return sum(bool(one["code"] and not one["there"] and one["parts"]) for one in seen)


def must(holds: bool, what: str) -> None:
    """End with an error if the command under test has lost something."""
    if not holds:
        raise SystemExit(f"not so: {what}")


def main(kills: int, seed: int, stop: signal.Signals, package: str, out: str, *given: str) -> None:
    # A shell starts programs in the background with SIGINT ignored; the runs would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    output.PART_ROWS = CHUNK_IMAGES  # a part after every chunk: many moments to stop in
    chance = random.Random(seed)
    parts = Path(f"{out}.partial")
    command = Command(package, list(given), f"{out}.stdin")
    whole = f"{Path(out).parent}/whole{Path(out).suffix}"
    must(command.run(whole) == 0, "a run that nobody stops ends with 0")
    seen: list[dict[str, int]] = []
    # On a busy machine a run may end before its stop: go on until enough stops have hit one.
    while len(seen) < kills or (in_the_middle(seen) < kills // 4 and len(seen) < 10 * kills):
        child = command.start(out)
        # A moment within the next few parts, however fast this machine is just now.
        more = chance.randrange(4)
        before = parts_in(parts)
        while running(child) and parts_in(parts) < before + more:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.02))
        os.kill(child, stop)
        code = finish(child)
        there = Path(out).exists()
        seen.append({"code": code, "there": there, "parts": parts_in(parts)})
        if there:
            equal = Path(out).read_bytes() == Path(whole).read_bytes()
            must(equal, "a result that is there is whole")
            if parts.exists() or out.endswith((".parquet", ".arrow")):  # CSV cannot say whose it is
                must(command.run(out) == 0, "the same command is content with its result")
                must(not parts.exists(), "nothing else is left")
            Path(out).unlink()
    code = command.run(out)
    left = sorted(os.listdir(Path(out).parent))
    print(json.dumps({"kills": seen, "code": code, "left": left}))


if __name__ == "__main__":
    kills, seed, name, *rest = sys.argv[1:]
    main(int(kills), int(seed), signal.Signals[f"SIG{name}"], *rest)
