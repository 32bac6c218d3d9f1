"""A running `quincunx serve`, with its memory, its processor time and its counts."""

import os
import re
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from benchmarks.peers.roster import ROOT
from benchmarks.ports import free_port
from benchmarks.processes import running
from service.bench.load.load import ENDPOINT

START_S = 120.0
STATUS = re.compile(
    r'^quincunx_requests_total\{route="([^"]*)",status="(\d+)"\} (\S+)', re.MULTILINE
)


@dataclass(frozen=True)
class Server:
    """A running server."""

    url: str
    process: psutil.Process
    log: Path

    @property
    def classify_url(self) -> str:
        """The URL for images."""
        return self.url + ENDPOINT

    def tree(self) -> list[psutil.Process]:
        """The server's processes: the supervisor and its workers."""
        return [self.process, *self.process.children(recursive=True)]

    def silent(self) -> SystemExit:
        """The end of a benchmark whose server has stopped answering."""
        return SystemExit(f"{self.url} answers no more; see {self.log}")

    def rss_mb(self) -> float:
        """Resident memory of the whole tree."""
        total = 0
        for process in self.tree():
            with suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
        return total / 1e6

    def cpu_s(self) -> float:
        """Processor time of the whole tree so far."""
        return cpu_s(self.tree())

    def statuses(self, route: str = "/classify") -> dict[int, int]:
        """Requests by status, as the server counts them."""
        text = httpx.get(f"{self.url}/metrics", timeout=30).text
        return {int(s): int(float(n)) for r, s, n in STATUS.findall(text) if r == route}


def cpu_s(processes: list[psutil.Process]) -> float:
    """User and system time of the processes so far."""
    total = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def grown(after: dict[int, int], before: dict[int, int]) -> dict[int, int]:
    """The counts between two readings."""
    return {s: n - before.get(s, 0) for s, n in after.items() if n > before.get(s, 0)}


@contextmanager
def serving(
    package: Path,
    precision: str,
    log: Path,
    *,
    workers: int = 1,
    checkout: Path = ROOT,
    variables: dict[str, str] | None = None,
    limits: dict[int, int] | None = None,
    **settings: str,
) -> Generator[Server]:
    """Serve `package`, with `settings` as QUINCUNX_* variables, until the block ends.

    The code is that of `checkout`. `variables` are others, and `limits` are of the resource module
    (RLIMIT_*).
    """
    port = free_port()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("QUINCUNX_")}
    environment |= {f"QUINCUNX_{name.upper()}": value for name, value in settings.items()}
    found = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = f"{checkout}{os.pathsep}{found}" if found else str(checkout)
    environment |= variables or {}

    def limit() -> None:
        for kind, value in (limits or {}).items():
            resource.setrlimit(kind, (value, value))

    command = [
        *(sys.executable, "-m", "service.cli", "serve", str(package.resolve())),
        *("--port", str(port), "--precision", precision, "--provider", "cpu"),
        *("--workers", str(workers)),
    ]
    with running(command, environment, checkout, log, limit if limits else None) as process:
        server = Server(f"http://127.0.0.1:{port}", psutil.Process(process.pid), log)
        _wait(server, process)
        yield server


def _wait(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"the server ended with {process.returncode}; see {server.log}")
        with suppress(httpx.TransportError):
            if httpx.get(f"{server.url}/readyz", timeout=5).status_code == 200:
                return
        time.sleep(0.1)
    raise SystemExit(f"{server.url} was not ready within {START_S:.0f} s; see {server.log}")


class Memory:
    """Samples a server's resident memory in its own thread."""

    def __init__(self, server: Server, every_s: float) -> None:
        self.samples: list[tuple[float, float]] = []
        """Seconds from the start, and MB."""
        self._server = server
        self._every_s = every_s
        self._started = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def most_mb(self) -> float:
        return max(mb for _, mb in self.samples)

    def now_s(self) -> float:
        """The clock of the samples."""
        return time.monotonic() - self._started

    def _watch(self) -> None:
        while True:
            self.samples.append((self.now_s(), self._server.rss_mb()))
            if self._over.wait(self._every_s):
                return
