"""A running server for a measurement: on a free port, ready before the first request counts."""

import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from benchmarks.peers.roster import SYSTEMS, Peer
from benchmarks.ports import free_port
from benchmarks.processes import running
from benchmarks.service.server import serving
from service.bench.load.load import content_type
from service.bench.photos import Photos
from service.package.manifest import Mode, Precision
from service.package.package import ModelPackage

START_S = 120.0


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
    with running(peer.command(), settings, SYSTEMS, log) as process:
        _wait(url, peer.wrap(photos), dict(peer.headers), log)
        yield Server(url, psutil.Process(process.pid))


@contextmanager
def quincunx_server(package: ModelPackage, precision: Precision, log: Path) -> Generator[Server]:
    """`quincunx serve`, with one process on the CPU, as the peers have it."""
    with serving(package.folder, precision, log) as server:
        yield Server(server.classify_url, server.process)


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
