"""Peak memory of the real command over lists of different lengths."""

import os
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.scoring.base import HERE, score
from service.console.stdio import log
from service.listing.skipped import Skipped
from service.package.manifest import Mode
from service.scoring.sources.walk import walk


def peaks(
    package: Path, folder: Path, sizes: list[int], mode: Mode, repeats: int
) -> dict[str, Any]:
    """Peak resident bytes of `quincunx score` for each size, smallest and largest in turn."""
    skipped = Skipped()
    paths = [os.path.abspath(path) for path in walk(str(folder), skipped)]
    for line in skipped.lines():
        log(line)
    seen: dict[int, list[int]] = {size: [] for size in sizes}
    for _ in range(repeats):
        for size in sizes:
            with tempfile.TemporaryDirectory() as work:
                listed = Path(work) / "list.txt"
                with listed.open("w") as file:
                    file.writelines(f"{paths[number % len(paths)]}\n" for number in range(size))
                cost = score(HERE, package.resolve(), listed, Path(work), mode)
                seen[size].append(cost.peak_bytes)
    means = {size: sum(own) / len(own) for size, own in seen.items()}
    return {
        "mode": mode,
        "folder": folder.name,
        "peak_bytes": {str(size): own for size, own in seen.items()},
        "growth": means[max(sizes)] / means[min(sizes)],
    }


def markdown(result: dict[str, Any]) -> list[str]:
    """A line for each size, and the growth."""
    lines = ["| images | peak memory, MiB |", "|--:|--:|"]
    for size, own in result["peak_bytes"].items():
        lines.append(f"| {int(size):,} | {', '.join(f'{peak / 2**20:.0f}' for peak in own)} |")
    growth = f"{result['growth'] - 1:+.1%}"
    return [*lines, "", f"From the fewest images to the most: {growth} ({result['mode']})."]
