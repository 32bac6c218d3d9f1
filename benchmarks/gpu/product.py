"""The service and the scorer as users run them: processes of their own, real photos."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.gpu.engine import Clock
from service.inference.runtime.providers import Provider
from service.package.modes import modes
from service.package.package import ModelPackage

ROOT = Path(__file__).parents[2]
QUINCUNX = (sys.executable, "-m", "service.cli")
SERVING = re.compile(r"serving .* on (http://\S+)")
START_S, STOP_S = 120.0, 30.0
USERS = 96
PROCESSES = (1, 4)


def service(
    package: ModelPackage, provider: Provider, photos: Path, folder: Path, left_s: Clock
) -> list[dict[str, Any]]:
    """Images per second over HTTP: a closed loop of users, for each number of processes."""
    answered = modes(package.manifest, "fp32")
    wanted = [m for m in ("none", "five_crop", "dense", "adaptive") if m in answered]
    seconds = max(1.0, left_s() / (len(PROCESSES) * len(wanted)) - 3)
    rows: list[dict[str, Any]] = []
    for processes in PROCESSES:
        with serving(package, provider, processes, folder) as url:
            for mode in wanted:
                options = ("--arrivals", "closed", "--users", USERS, "--mix", mode, "--warm-up", 1)
                more = ("--seconds", f"{seconds:.0f}", "--images", photos, "--json")
                (step,) = json.loads(_quincunx("bench", "load", url, *options, *more))["steps"]
                rows.append(
                    {
                        "processes": processes,
                        "mode": mode,
                        "images_per_second": step["answered_per_second"],
                        "p50_ms": (step["latency"] or {}).get("p50_ms"),
                        "failed": step["failed"] + step["refused"],
                        "client_limited": step["client_limited"],
                    }
                )
        if left_s() <= 0:
            break
    return rows


def score(
    package: ModelPackage, provider: Provider, photos: Path, folder: Path
) -> list[dict[str, Any]]:
    """Images per second of `quincunx score` from start to end, the start of Python included."""
    began = time.perf_counter()
    options = ("--model", package.folder, "--provider", provider, "--json")
    done = _quincunx("score", photos, "-o", folder / "scored.parquet", *options)
    images, seconds = json.loads(done)["images"], time.perf_counter() - began
    return [{"images": images, "seconds": seconds, "images_per_second": images / seconds}]


@contextmanager
def serving(
    package: ModelPackage, provider: Provider, processes: int, folder: Path
) -> Generator[str]:
    """A server on a free port; its address."""
    options = ("--provider", provider, "--workers", processes, "--port", _free_port())
    log = folder / f"serve-{processes}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603
            [*QUINCUNX, "serve", str(package.folder), *map(str, options)],
            stdout=output, stderr=subprocess.STDOUT, cwd=ROOT,
        )  # fmt: skip
    try:
        until = time.monotonic() + START_S
        while not (found := SERVING.search(log.read_text(errors="replace"))):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"no server: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)
        yield found[1]
    finally:
        process.terminate()
        process.wait(STOP_S)


def _quincunx(*arguments: object) -> str:
    command = [*QUINCUNX, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return done.stdout


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
