"""The rate of `quincunx score`, with processes and with threads that decode."""

import json
import time
from collections.abc import Generator, Sequence
from pathlib import Path

from benchmarks.gpu.engine import Clock
from benchmarks.gpu.processes import quincunx
from benchmarks.gpu.product import SMALL, Log, Row
from service.bench.photos import drawn
from service.inference.runtime.providers import Provider
from service.package.manifest import Mode
from service.package.package import ModelPackage

FIRST = 256
"""Images of a first run, which takes little more than its start."""
SCORED = {"cpu": 160, "cuda": 8000}
"""Photos of one run, beyond those of the first one; the files are repeated."""
SMALL_TIMES = 3
"""So many times as many small images are scored: they take less time each."""


def score(
    package: ModelPackage, provider: Provider, paths: Sequence[Path], folder: Path, left_s: Clock,
    log: Log,
) -> Generator[Row]:  # fmt: skip
    """Images per second of whole runs, and without the time of the start.

    The start is that of a run of a few images. It opens the graph and starts the processes.
    """
    most = SCORED.get(provider, SCORED["cuda"])
    first = min(FIRST, most // 4)
    auto = "auto" if provider != "cpu" else "2"
    small: list[Path] = []
    for number, data in enumerate(drawn(SMALL, 0).files):
        small.append(folder / f"small-{number}.jpg")
        small[-1].write_bytes(data)
    cases: tuple[tuple[str, Sequence[Path], str, Mode, int], ...] = (
        (f"{SMALL}", small, auto, "five_crop", SMALL_TIMES * most),
        ("photos", paths, auto, "five_crop", most),
        ("photos", paths, auto, "none", most),
        ("photos", paths, "0", "five_crop", most // 4),
    )
    start_s: dict[str, float] = {}
    for number, (name, files, processes, mode, more) in enumerate(cases):
        if number and left_s() <= 0:
            log(f"{name}, {mode}, {processes} decode processes: the time was over")
            continue
        options = (package, provider, files, folder, processes, mode)
        if processes not in start_s:
            start_s[processes] = _seconds(first, *options)[0]
        seconds, summary = _seconds(first + more, *options)
        yield {
            "images_of": name,
            "decode_processes": processes,
            "mode": mode,
            "images": summary["images"],
            "failed": summary["failed"],
            "images_per_second": summary["images_per_s"],
            "without_start": more / max(seconds - start_s[processes], 1e-9),
            "seconds_with_start": seconds,
        }


def _seconds(
    images: int, package: ModelPackage, provider: Provider, files: Sequence[Path], folder: Path,
    processes: str, mode: Mode,
) -> tuple[float, Row]:  # fmt: skip
    """How long a run takes, and its summary."""
    given, result = folder / "scored.txt", folder / "scored.parquet"
    names = [str(files[i % len(files)].resolve()) for i in range(images)]
    given.write_text("\n".join(names), encoding="utf-8")
    options = ("--model", package.folder, "--provider", provider, "--json", "--tta", mode)
    more = ("-o", result, "--overwrite", "--decode-processes", processes)
    began = time.perf_counter()
    summary = json.loads(quincunx("score", given, *options, *more))
    return time.perf_counter() - began, summary
