"""`quincunx score`, killed with SIGKILL many times, for every kind of source and of sink."""

import json
import random
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import IO, Any, cast

from benchmarks.scoring.killer import in_the_middle, must
from benchmarks.scoring.sources import every_kind

SINKS = (".parquet", ".csv", ".jsonl", ".arrow")
STREAM_SECONDS = 0.2
"""A kill comes within this time after the first row."""


def stops(package: Path, photos: Path, kills: int) -> list[dict[str, Any]]:
    """Stop a run of each source and sink so often; raises SystemExit where a result differs."""
    suffix = next((path.suffix for path in sorted(photos.glob("*/*"))), None)
    if suffix is None:
        sys.exit(f"{photos} has no FOLDER/CLASS/photo: kills also scores photos with labels")
    paths = sorted(photos.glob(f"*/*{suffix}"))
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        kinds = every_kind(Path(scratch) / "sources", photos, suffix) | {"standard input": "-"}
        for (kind, source), sink in product(kinds.items(), SINKS):
            folder = Path(scratch) / f"{kind} {sink}".replace(" ", "-")
            folder.mkdir()
            rows.append(
                {"source": kind, "sink": sink} | _stops(package, source, folder, sink, kills, paths)
            )
        listed = kinds["list.txt"]
        rows.append({"source": "list.txt", "sink": "-"} | _streams(package, listed, kills))
    return rows


def _stops(
    package: Path, source: str, folder: Path, sink: str, kills: int, paths: list[Path]
) -> dict[str, Any]:
    out = folder / f"out{sink}"
    Path(f"{out}.stdin").write_text("".join(f"{path}\n" for path in paths))
    killer = [sys.executable, "-m", "benchmarks.scoring.killer", str(kills), "1", "KILL"]
    ran = subprocess.run([*killer, package, out, source], capture_output=True, text=True)  # noqa: S603
    must(ran.returncode == 0, f"the kills went well: {ran.stderr}")
    report = json.loads(ran.stdout)
    must(report["code"] == 0, "the last run, which nobody stops, ends with 0")
    must(out.read_bytes() == (folder / f"whole{sink}").read_bytes(), "the results are equal")
    must("Traceback" not in Path(f"{out}.stderr").read_text(), "no run ends in a traceback")
    halfway = in_the_middle(report["kills"])
    return {"kills": len(report["kills"]), "halfway": halfway, "equal": True}


def _streams(package: Path, source: str, kills: int) -> dict[str, Any]:
    """Rows on standard output: those before the kill must be the beginning of the whole stream."""
    line = [sys.executable, "-m", "service.cli", "score", source, "-o", "-", "--no-timing"]
    line += ["--model", str(package), "--chunk-images", "8"]
    whole = subprocess.run(line, capture_output=True, check=True).stdout  # noqa: S603
    chance, halfway = random.Random(1), 0
    for _ in range(kills):
        quiet = subprocess.DEVNULL
        with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=quiet) as ran:  # noqa: S603
            stream = cast("IO[bytes]", ran.stdout)
            first = stream.readline()
            time.sleep(chance.uniform(0, STREAM_SECONDS))
            ran.kill()
            got = first + ran.communicate()[0]
        must(whole.startswith(got), "what came before the kill is the beginning of the whole")
        halfway += len(got) < len(whole)
    return {"kills": kills, "halfway": halfway, "equal": True}


def markdown(rows: list[dict[str, Any]]) -> list[str]:
    """A table: a line for each source and sink."""
    lines = [
        "| source | sink | kills | with finished rows and no result | result |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        result = "the same bytes" if row["sink"] != "-" else "a beginning of the same bytes"
        lines.append(
            f"| {row['source']} | {row['sink']} | {row['kills']} | {row['halfway']} | {result} |"
        )
    return lines
