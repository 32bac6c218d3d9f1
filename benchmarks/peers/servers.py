"""A running server for a measurement: on a free port, ready before the first request counts."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from benchmarks.peers.roster import ROOT, SYSTEMS, Peer
from benchmarks.ports import free_port
from service.bench.load.load import content_type
from service.bench.photos import Photos
from service.package.manifest import Mode, Precision
from service.package.package import ModelPackage

START_S = 120.0
STOP_S = 10.0


@dataclass(frozen=True)
class Server:
    """A running server that can be paused, because one of the peers polls while it is idle."""

    url: str
    process: psutil.Process

    def pause(self) -> None:
        """Pause it and every process that it started."""
        for one in (self.process, *self.process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                one.suspend()

    def resume(self) -> None:
        """Resume it; supervising processes come last."""
        for one in reversed((self.process, *self.process.children(recursive=True))):
            with suppress(psutil.NoSuchProcess):
                one.resume()


@contextmanager
def peer_server(
    peer: Peer, package: ModelPackage, precision: Precision, mode: Mode, photos: Photos, log: Path
) -> Generator[Server]:
    """A peer that serves the package's file of `precision` in one mode."""
    port = free_port()
    size = package.manifest.input
    settings = peer.environment(
        MODEL=str(package.path(precision).resolve()),
        PORT=str(port),
        MODE=mode,
        RESIZE_PX=str(size.resize_px),
        FIT=size.fit,
        CROP_PX=str(size.crop_px),
    )
    url = f"http://127.0.0.1:{port}{peer.path}"
    with _running(peer.command(), settings, SYSTEMS, log) as process:
        _wait(url, peer.wrap(photos), dict(peer.headers), log)
        yield Server(url, process)


@contextmanager
def quincunx_server(
    package: ModelPackage, precision: Precision, photos: Photos, log: Path
) -> Generator[Server]:
    """`quincunx serve`."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/classify"
    command = [sys.executable, "-m", "service.cli", "serve", str(package.folder.resolve())]
    options = ["--port", str(port), "--precision", precision]
    with _running([*command, *options], dict(os.environ), ROOT, log) as process:
        _wait(url, photos, {}, log)
        yield Server(url, process)


@contextmanager
def _running(
    command: list[str], environment: dict[str, str], folder: Path, log: Path
) -> Generator[psutil.Process]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as stream:
        process = subprocess.Popen(  # noqa: S603
            command, env=environment, cwd=folder, stdout=stream, stderr=stream,
            start_new_session=True,
        )  # fmt: skip
        try:
            yield psutil.Process(process.pid)
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server and every process that it started. Some ignore SIGTERM."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def _wait(url: str, photos: Photos, headers: dict[str, str], log: Path) -> None:
    """Wait until a real photo is answered."""
    body = photos.files[0]
    kind = photos.content_type or content_type(body)
    deadline = time.monotonic() + START_S
    last = "no connection"
    while time.monotonic() < deadline:
        try:
            response = httpx.post(
                url, content=body, headers={**headers, "Content-Type": kind}, timeout=START_S
            )
            if response.status_code == 200:
                return
            last = f"{response.status_code} {response.text[:200]}"
        except httpx.TransportError as error:
            last = str(error)
        time.sleep(0.2)
    raise SystemExit(f"{url} did not answer within {START_S:.0f} s ({last}); see {log}")
