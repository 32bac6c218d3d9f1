"""A real server for tests: `quincunx serve` in a process of its own, on a free port."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.ports import free_port

START_LIMIT_S = 300


@dataclass
class Server:
    """A running server."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path


@contextmanager
def serving(
    packages: list[Path],
    folder: Path,
    workers: int = 1,
    environment: dict[str, str | None] | None = None,
    **settings: str,
) -> Iterator[Server]:
    """Serve `packages`, with `settings` as QUINCUNX_* variables, until the block ends.

    `environment` sets other variables; None takes one away.
    """
    port = free_port()
    log = folder / f"server-{port}.log"
    full = {k: v for k, v in os.environ.items() if not k.startswith("QUINCUNX_")}
    full |= {f"QUINCUNX_{name.upper()}": value for name, value in settings.items()}
    full |= {"BENTOML_HOME": str(folder / "bentoml"), **(environment or {})}
    command = [sys.executable, "-m", "service.cli", "serve", *map(str, packages)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--port", str(port), "--provider", "cpu", "--workers", str(workers)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={k: v for k, v in full.items() if v is not None},
            cwd=Path(__file__).parents[2],
        )
    server = Server(f"http://127.0.0.1:{port}", process, log)
    try:
        wait_until_ready(server)
        yield server
    finally:
        stop(server)


def wait_until_ready(server: Server) -> None:
    """Poll `/readyz` until it says yes."""
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise RuntimeError(f"the server ended:\n{server.log.read_text()}")
        try:
            if httpx.get(f"{server.url}/readyz", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise RuntimeError(f"the server is not ready:\n{server.log.read_text()}")


def stop(server: Server, limit_s: float = 30) -> int:
    """Ask the server to end, and wait for it."""
    if server.process.poll() is None:
        server.process.send_signal(signal.SIGTERM)
    try:
        return server.process.wait(limit_s)
    except subprocess.TimeoutExpired:
        server.process.kill()
        raise
