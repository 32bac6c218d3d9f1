"""`quincunx score` of this checkout against that of another one, in turn, as whole processes.

Each round runs a short and a long list in both checkouts. The difference of both lists is the time
of the images alone: without starting Python, opening the package and the first batches.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.turns import in_turns
from service.bench.report.statistics import Interval, mean_interval, paired_ratio
from service.listing.skipped import Skipped
from service.package.manifest import Mode
from service.scoring.sources.walk import walk

SHORT = 4
"""Images of the short list."""
HERE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Cost:
    """What one process took. The memory is resident, as the kernel counts it."""

    wall_s: float
    processor_s: float
    peak_bytes: int


def compare(
    package: Path, base: Path, folder: Path, mode: Mode, images: int, rounds: int
) -> dict[str, Any]:
    """Seconds for each image and peak memory of both, with the ratios of base to this checkout."""
    packages = {HERE: package.resolve(), base.resolve(): base.resolve() / package}
    paths = [os.path.abspath(path) for path in walk(str(folder), Skipped())]
    costs: dict[tuple[Path, int], list[Cost]] = {
        (tree, length): [] for tree in packages for length in (SHORT, images)
    }
    with tempfile.TemporaryDirectory() as work:
        for _, (tree, length) in in_turns(costs, range(rounds)):
            listed = Path(work) / f"{length}.txt"
            listed.write_text("".join(f"{paths[i % len(paths)]}\n" for i in range(length)))
            cost = score(tree, packages[tree], listed, Path(work), mode)
            costs[tree, length].append(cost)
    ours, theirs = (_for_each_image(costs, tree, images) for tree in packages)
    peaks = [[cost.peak_bytes for cost in costs[tree, images]] for tree in packages]
    return {
        "folder": folder.name,
        "mode": mode,
        "images": images,
        "rounds": rounds,
        "ms": {
            kind: [mean_interval(own[kind]).value for own in (theirs, ours)]
            for kind in ("wall", "processor")
        },
        "times_faster": {kind: asdict(paired_ratio(theirs[kind], ours[kind])) for kind in ours},
        "peak_bytes": [mean_interval(own).value for own in reversed(peaks)],
        "memory": asdict(paired_ratio(peaks[0], peaks[1])),
    }


def _for_each_image(
    costs: dict[tuple[Path, int], list[Cost]], tree: Path, images: int
) -> dict[str, list[float]]:
    """Milliseconds of wall and processor time for each image, one value a round."""
    pairs = list(zip(costs[tree, images], costs[tree, SHORT], strict=True))
    share = 1e3 / (images - SHORT)
    return {
        "wall": [share * (long.wall_s - short.wall_s) for long, short in pairs],
        "processor": [share * (long.processor_s - short.processor_s) for long, short in pairs],
    }


def score(tree: Path, package: Path, listed: Path, work: Path, mode: Mode) -> Cost:
    """Run `quincunx score` of the checkout `tree` over a list of paths."""
    command = [sys.executable, "-m", "service.cli", "score", str(listed)]
    command += ["-o", str(work / "out.parquet"), "--overwrite"]
    command += ["--model", str(package), "--tta", mode]
    environment = os.environ | {"PYTHONPATH": str(tree)}
    began = perf_counter()
    process = subprocess.Popen(  # noqa: S603  # our own
        command, cwd=tree, env=environment, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{tree}: {' '.join(command)} ended with {process.returncode}")
    processor_s = usage.ru_utime + usage.ru_stime
    return Cost(perf_counter() - began, processor_s, usage.ru_maxrss * 1024)  # Linux counts KiB


def markdown(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A line for each mode: base and this checkout, and base divided by this checkout."""
    lines = [
        "| photos | mode | images | base, ms | now, ms | times faster (95%) "
        "| processor: base, ms | now, ms | times less (95%) "
        "| peak memory: base, MiB | now, MiB | now of base (95%) |",
        "|---|---|--:|" + "--:|" * 9,
    ]
    for row in rows:
        wall, processor = row["ms"]["wall"], row["ms"]["processor"]
        faster, peaks = row["times_faster"], row["peak_bytes"]
        lines.append(
            f"| {row['folder']} | {row['mode']} | {row['images']} "
            f"| {wall[0]:.0f} | {wall[1]:.0f} | {Interval(**faster['wall'])} "
            f"| {processor[0]:.0f} | {processor[1]:.0f} | {Interval(**faster['processor'])} "
            f"| {peaks[0] / 2**20:.0f} | {peaks[1] / 2**20:.0f} | {Interval(**row['memory'])} |"
        )
    return lines
