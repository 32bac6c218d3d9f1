"""The service and the scorer as users run them: processes of their own, real photos."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.gpu import load
from benchmarks.gpu.engine import Clock
from benchmarks.ports import free_port
from benchmarks.service.null_package import null_package
from service.bench.image_size import PHONE, ImageSize
from service.bench.photos import Photos, drawn, photos
from service.inference.runtime.providers import Provider
from service.package.manifest import Mode
from service.package.modes import modes
from service.package.package import ModelPackage

ROOT = Path(__file__).parents[2]
QUINCUNX = (sys.executable, "-m", "service.cli")
Log = Callable[[str], object]
SERVING = re.compile(r"serving .* on (http://\S+)")
WORKERS = re.compile(r"quincunx: (\d+) workers")
START_S, STOP_S = 180.0, 30.0
START_SHARE_S = {"cpu": 3.0, "cuda": 12.0}
"""About what the start of a server takes, which is no time for requests."""
ROUNDS = 2
SHORTEST_S = 1.0
"""The shortest stretch of requests."""
SMALL = ImageSize(224, 224)
SCORED = {"cpu": 120, "cuda": 8000}
"""Images of one run of `score`; the photos are repeated."""


def service(
    package: ModelPackage,
    provider: Provider,
    groups: dict[str, Photos],
    processes: Sequence[int | str],
    wanted: Sequence[Mode],
    folder: Path,
    left_s: Clock,
    log: Log,
) -> list[dict[str, Any]]:
    """Images per second over HTTP, for each number of processes and each group of images.

    `log` gets what was left out, because the time was over.
    """
    answered = modes(package.manifest, "fp32")
    asked: list[Mode] = [mode for mode in wanted if mode in answered]
    start_s = START_SHARE_S.get(provider, START_SHARE_S["cuda"])
    each = len(processes) * len(groups) * len(asked) * ROUNDS
    seconds = max(SHORTEST_S, (left_s() - len(processes) * start_s) / each - load.WARM_UP_S)
    rows: list[dict[str, Any]] = []
    for number in processes:
        if rows and left_s() <= 0:
            log(f"{number} process(es): the time was over")
            continue
        with serving(package, provider, number, folder) as (url, started):
            for name, group in groups.items():
                if rows and left_s() <= 0:
                    log(f"{number} process(es), {name}: the time was over")
                    continue
                found = load.compared(url, group, asked, ROUNDS, seconds)
                rows += [{"processes": started, "images": name, **row} for row in found]
    return rows


def whole_service(
    package: ModelPackage, provider: Provider, folder_of_photos: Path, folder: Path, left_s: Clock,
    log: Log,
) -> list[dict[str, Any]]:  # fmt: skip
    """The real network: what TTA costs against a single crop, for `auto`, 1 and 4 processes."""
    groups = {"photos": photos(folder_of_photos, None, 0)}
    wanted: list[Mode] = ["none", "five_crop", "dense", "adaptive"]
    return service(package, provider, groups, ("auto", 1, 4), wanted, folder, left_s, log)


def intake(
    package: ModelPackage,
    folder_of_photos: Path,
    processes: int,
    folder: Path,
    left_s: Clock,
    log: Log,
) -> list[dict[str, Any]]:
    """A network that does no work, on the CPU: the rate of the cores, in 1 and N processes."""
    nothing = null_package(package, folder / "nothing")
    groups = {
        f"{SMALL}": drawn(SMALL, 0),
        "photos": photos(folder_of_photos, None, 0),
        f"{PHONE}": drawn(PHONE, 0, 3),
    }
    numbers = sorted({1, processes})
    return service(nothing, "cpu", groups, numbers, ["none", "five_crop"], folder, left_s, log)


def score(
    package: ModelPackage, provider: Provider, paths: Sequence[Path], folder: Path, left_s: Clock,
    log: Log,
) -> list[dict[str, Any]]:  # fmt: skip
    """Images per second of `quincunx score`, decoding in processes and in threads."""
    images = SCORED.get(provider, SCORED["cuda"])
    rows: list[dict[str, Any]] = []
    cases: tuple[tuple[str, Mode, int], ...] = (
        ("auto" if provider != "cpu" else "2", "none", images),
        ("auto" if provider != "cpu" else "2", "five_crop", images),
        ("0", "five_crop", images // 4),
    )
    for number, (processes, mode, count) in enumerate(cases):
        if rows and left_s() <= 0:
            log(f"{mode}, {processes} decode processes: the time was over")
            continue
        names = [str(paths[i % len(paths)].resolve()) for i in range(count)]
        given = folder / f"scored-{number}.txt"
        given.write_text("\n".join(names), encoding="utf-8")
        options = ("--model", package.folder, "--provider", provider, "--json", "--tta", mode)
        more = ("-o", folder / f"scored-{number}.parquet", "--decode-processes", processes)
        began = time.perf_counter()
        summary = json.loads(_quincunx("score", given, *options, *more))
        rows.append(
            {
                "decode_processes": processes,
                "mode": mode,
                "images": summary["images"],
                "failed": summary["failed"],
                "images_per_second": summary["images_per_s"],
                "seconds_with_start": time.perf_counter() - began,
            }
        )
    return rows


@contextmanager
def serving(
    package: ModelPackage, provider: Provider, processes: int | str, folder: Path
) -> Generator[tuple[str, str]]:
    """A server on a free port: its address, and its number of processes as text."""
    options = ("--provider", provider, "--workers", processes, "--port", free_port())
    log = folder / f"serve-{package.manifest.name}-{processes}.log"
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
        chosen = WORKERS.search(log.read_text(errors="replace"))
        number = f"auto: {chosen[1] if chosen else 1}" if processes == "auto" else str(processes)
        yield found[1], number
    finally:
        process.terminate()
        process.wait(STOP_S)


def _quincunx(*arguments: object) -> str:
    command = [*QUINCUNX, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)  # noqa: S603
    if done.returncode:
        what = " ".join(map(str, arguments[:2]))
        raise RuntimeError(f"quincunx {what}: {done.stderr.strip().splitlines()[-1:]}")
    return done.stdout
