"""``python -m benchmarks.training DATA --recipe NAME``: throughput, phases and memory of training.

Cases (every size with every number of loader processes, and with every kind of cache) take turns,
in a new random order each round, each in a new process. The steps of the warm-up do not count.
Writes docs/results/training/results.json and report.md.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.arguments import count, count_or_zero, parser_of, run_benchmark
from benchmarks.training.case import Case
from benchmarks.training.stopwatch import PHASES
from benchmarks.turns import in_turns
from service.bench.environment import environment
from service.bench.report.compact import compact_json
from service.bench.report.statistics import RESAMPLES, Interval, mean_interval, resampled_rows
from service.bench.report.tables import ReportTable
from service.replacing import replacing_file
from training import recipe
from training.data.cache import CacheMode
from training.data.dataset import split

LIBRARIES = ("torch", "torchvision", "fastai")
TARGET_WAIT = 0.05
Result = dict[str, Any]


class Failed(Exception):
    """The process of a case failed."""


def main() -> None:
    given = _arguments()
    split(
        given.data, recipe.load(given.recipe, list(given.set))
    )  # errors come before the first run
    with tempfile.TemporaryDirectory() as scratch:
        _measure(given, _cases(given, scratch))


def _cases(given: argparse.Namespace, cache_folder: str) -> list[Case]:
    """Loader processes decode files, so cases with decoded images have none."""
    ways: list[tuple[CacheMode, int]] = [
        ("off", workers) for workers in given.workers if "off" in given.cache
    ]
    ways += [(cache, 0) for cache in given.cache if cache != "off"]
    return [
        Case(
            str(given.data),
            given.recipe,
            tuple(given.set),
            size_px,
            workers,
            cache,
            cache_folder,
            given.threads,
            given.warm_up,
            given.steps,
        )
        for size_px in given.sizes
        for cache, workers in ways
    ]


def _measure(given: argparse.Namespace, cases: list[Case]) -> None:
    machine = environment().model_dump(mode="json")  # before this benchmark makes it busy
    machine["libraries"] |= {name: version(name) for name in LIBRARIES}
    results: list[Result] = []
    failed: list[str] = []
    for number, case in in_turns(cases, range(given.repeats)):
        shown = f"{case.size_px} px, {case.workers} workers, cache {case.cache}"
        print(f"round {number + 1}/{given.repeats}: {shown}", file=sys.stderr, flush=True)
        try:
            result = _in_own_process(case, given.device)
        except Failed as error:  # such as a GPU without memory left; the others may succeed
            failed.append(f"{shown}, round {number + 1}: {error}")
            continue
        for private in ("data", "cache_folder"):  # paths of this machine
            del result["case"][private]
        results.append(result)
        _write(given, results, machine)  # now: the run may be cut off
    if results:
        print((given.out / "report.md").read_text())
    if failed:
        raise SystemExit("these measurements failed:\n" + "\n".join(failed))


def _write(given: argparse.Namespace, results: Sequence[Result], machine: Result) -> None:
    """Write what was measured so far."""
    command = _command(given)
    rows = summary(results)
    content = {"command": command, "environment": machine, "summary": rows, "runs": results}
    texts = {"results.json": compact_json(content), "report.md": markdown(rows, machine, command)}
    given.out.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        with replacing_file(given.out / name) as stream:
            stream.write(text.encode())


def summary(results: Sequence[Result]) -> list[Result]:
    """One row per case, over all of its rounds."""
    cases: dict[tuple[int, str, int], list[Result]] = {}
    for result in results:
        case = result["case"]
        key = (case["size_px"], case["cache"], case["workers"])
        cases.setdefault(key, []).append(result)
    return [_row(own) for _, own in sorted(cases.items())]


def _row(own: Sequence[Result]) -> Result:
    first = own[0]
    images = first["batch_images"]
    step = mean_interval([second for result in own for second in result["step_s"]])
    phases = np.array([row for result in own for row in result["phases_s"]])
    wait = share_interval(phases[:, 0], phases.sum(axis=1))
    gpu = [result["gpu_peak_mib"] for result in own if result["gpu_peak_mib"] is not None]
    return {
        "size_px": first["case"]["size_px"],
        "cache": first["case"]["cache"],
        "workers": first["case"]["workers"],
        "batch_images": images,
        "arithmetic": first["arithmetic"],
        "device": first["device"],
        "threads": first["threads"],
        "rounds": len(own),
        "steps": len(own) * len(first["step_s"]),
        "images_per_second": (images / step.value, images / step.high, images / step.low),
        "step_ms": 1e3 * step.value,
        "phases_ms": dict(zip(PHASES, (1e3 * phases.mean(axis=0)).tolist(), strict=True)),
        "wait_share": (wait.value, wait.low, wait.high),
        "peak_mib": max(result["peak_mib"] for result in own),
        "gpu_peak_mib": max(gpu) if gpu else None,
    }


def share_interval(part: np.ndarray, whole: np.ndarray, seed: int = 0) -> Interval:
    """The share of a sum, with its 95% circular-block bootstrap interval over steps."""
    rows = resampled_rows(len(part), np.random.default_rng(seed), RESAMPLES)
    drawn = part[rows].sum(axis=1) / whole[rows].sum(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(float(part.sum() / whole.sum()), float(low), float(high))


def markdown(rows: Sequence[Result], machine: Result, command: str) -> str:
    """The report."""
    some = rows[0]
    throughput = ReportTable(
        "Throughput and memory",
        (
            *("size px", "cache", "workers", "n steps", "images/s [95%]", "step ms"),
            *("waiting for data % [95%]", "under 5%", "peak MiB", "GPU peak MiB"),
        ),
        tuple(
            (
                str(row["size_px"]),
                row["cache"],
                str(row["workers"]),
                str(row["steps"]),
                "{:.1f} [{:.1f}, {:.1f}]".format(*row["images_per_second"]),
                f"{row['step_ms']:.1f}",
                "{:.1f} [{:.1f}, {:.1f}]".format(*(100 * share for share in row["wait_share"])),
                "yes" if row["wait_share"][2] < TARGET_WAIT else "no",
                f"{row['peak_mib']:.0f}",
                "–" if row["gpu_peak_mib"] is None else f"{row['gpu_peak_mib']:.0f}",
            )
            for row in rows
        ),
    )
    phases = ReportTable(
        "Where a step's time goes: mean ms",
        ("size px", "cache", "workers", *PHASES),
        tuple(
            (
                str(row["size_px"]),
                row["cache"],
                str(row["workers"]),
                *(f"{ms:.1f}" for ms in row["phases_ms"].values()),
            )
            for row in rows
        ),
    )
    lines = [
        "# Training: throughput, phases, memory",
        "",
        f"`{command}`",
        "",
        f"{machine['taken_at']}, {machine['cpu']}, {machine['cores']} cores, load "
        f"{(machine['load_average'] or [float('nan')])[0]:.1f} before; {some['device']}, "
        f"{some['arithmetic']}, {some['threads']} threads, batches of {some['batch_images']}; "
        + ", ".join(f"{name} {machine['libraries'][name]}" for name in LIBRARIES)
        + ".",
        "",
        "With 0 workers the training process loads its images itself, and waits for all of it. "
        "With a cache other than off, images were decoded before the clock ran. "
        "Phases are of a round of their own, in which a GPU is waited for after each. Peak memory "
        "is that of the training process, its libraries included, not of its loader processes.",
        "",
        throughput.markdown(),
        "",
        f"## {phases.title}",
        "",
        phases.markdown(),
    ]
    return "\n".join(lines) + "\n"


def _in_own_process(case: Case, device: str) -> Result:
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    command = [sys.executable, "-m", "benchmarks.training.case", json.dumps(asdict(case))]
    done = subprocess.run(  # noqa: S603
        command, stdout=subprocess.PIPE, text=True, check=False, env=os.environ | hidden
    )
    if done.returncode:
        raise Failed(f"exit code {done.returncode}; its error is above")
    return json.loads(done.stdout.splitlines()[-1])


def _command(given: argparse.Namespace) -> str:
    parts = ["python -m benchmarks.training DATA", f"--recipe {given.recipe}"]
    parts += [f"--set {shlex.quote(value)}" for value in given.set]
    parts.append(f"--sizes {' '.join(map(str, given.sizes))}")
    parts.append(f"--workers {' '.join(map(str, given.workers))}")
    parts.append(f"--cache {' '.join(given.cache)} --device {given.device}")
    for name in ("threads", "warm_up", "steps", "repeats"):
        parts.append(f"--{name.replace('_', '-')} {getattr(given, name)}")
    return " ".join(parts)


def _arguments() -> argparse.Namespace:
    parser = parser_of("training", __doc__)
    parser.add_argument("data", type=Path, help="a folder of train/<class>/* images")
    parser.add_argument("--recipe", default="small-cpu", help="see quincunx recipes")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a value of the recipe",
    )
    parser.add_argument(
        "--sizes", type=count, nargs="+", default=[64, 96, 128], help="sides of crops, px"
    )
    parser.add_argument(
        "--workers", type=count_or_zero, nargs="+", default=[0, 1, 2], help="loader processes"
    )
    parser.add_argument(
        "--cache",
        choices=["off", "memory", "device"],
        nargs="+",
        default=["off", "memory"],
        help="where decoded images are kept, as for quincunx train",
    )
    parser.add_argument(
        "--device", choices=["auto", "cpu", "cuda"], default="auto", help="cpu hides a GPU"
    )
    parser.add_argument(
        "--threads", type=count_or_zero, default=0, help="threads of the arithmetic; 0: every core"
    )
    parser.add_argument("--warm-up", type=count_or_zero, default=5, help="steps that do not count")
    parser.add_argument("--steps", type=count, default=20, help="steps measured in each round")
    parser.add_argument("--repeats", type=count, default=3, help="rounds")
    parser.add_argument(
        "--out", type=Path, default=Path("docs/results/training"), help="folder of the results"
    )
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: there is no CUDA device here")
    return given


if __name__ == "__main__":
    run_benchmark(main)
