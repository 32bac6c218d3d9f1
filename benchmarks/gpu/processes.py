"""Commands of Quincunx in processes of their own, from this checkout."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.ports import free_port
from benchmarks.processes import running
from service.inference.runtime.providers import Provider
from service.package.package import ModelPackage

ROOT = Path(__file__).parents[2]
QUINCUNX = (sys.executable, "-m", "service.cli")
SERVING = re.compile(r"serving .* on (http://\S+)")
WORKERS = re.compile(r"quincunx: (\d+) workers")
START_S = 180.0
TOLD = 500
"""How much of the log of a server that failed is reported, in characters."""


@dataclass(frozen=True)
class Server:
    """A running server."""

    url: str
    processes: int
    shown: str
    """The number of processes as a report names it."""
    start_s: float
    """From the command to the line that says that all processes serve."""


@contextmanager
def serving(
    package: ModelPackage, provider: Provider, processes: int | str, folder: Path
) -> Generator[Server]:
    """A server on a free port. Whatever ends the block, no process of the server is left.

    Raises:
        RuntimeError: it did not start; the message is the end of its log.
    """
    options = ("--provider", provider, "--workers", processes, "--port", free_port())
    log = folder / f"serve-{package.manifest.name}-{processes}.log"
    began = time.monotonic()
    command = [*QUINCUNX, "serve", str(package.folder), *map(str, options)]
    with running(command, os.environ, ROOT, log) as process:
        while not (found := SERVING.search(_text(log))):
            if process.poll() is not None or time.monotonic() - began > START_S:
                raise RuntimeError(f"no server: {_text(log).strip()[-TOLD:]}")
            time.sleep(0.1)
        chosen = WORKERS.search(_text(log))
        number = processes if isinstance(processes, int) else int(chosen[1]) if chosen else 1
        shown = f"auto: {number}" if processes == "auto" else str(number)
        yield Server(found[1], number, shown, time.monotonic() - began)


def _text(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")


def quincunx(*arguments: object) -> str:
    """The output of a command.

    Raises:
        RuntimeError: it failed; the message is the end of its errors.
    """
    command = [*QUINCUNX, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)  # noqa: S603
    if done.returncode:
        what = " ".join(map(str, arguments[:2]))
        raise RuntimeError(f"quincunx {what}: {' '.join(done.stderr.split())[-TOLD:]}")
    return done.stdout
