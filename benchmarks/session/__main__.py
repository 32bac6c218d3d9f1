"""``python -m benchmarks.session PACKAGE [--out docs/results/session]``: session options, measured.

The base case is one batch on all cores with the options that `service.inference.runtime.providers`
sets. Every variant changes one thing. All variants run the same batch in turn, in a new random
order each round. Each starts after a pause in which the threads of the variant before have stopped
spinning: a pool that spins is fast only if no other work needs the core. A longer pause is like the
time before a single request: the scheduler has forgotten which thread ran on which core. "Side by
side" is how the service and scoring run: as many batches at once as there are cores, with one
thread each. Its times are divided by their number."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter, process_time, sleep
from typing import Any

import numpy as np
import onnxruntime as ort

from benchmarks.arguments import amount, count, parser_of, run_benchmark
from benchmarks.results import write_results
from benchmarks.turns import in_turns
from service.bench.environment import environment
from service.bench.report.statistics import Interval, mean_interval, paired_ratio
from service.inference.runtime.cores import usable_cores
from service.inference.runtime.providers import ERRORS_ONLY, session_options
from service.package.package import ModelPackage

BASE = "one batch on all cores"
SIDE_BY_SIDE = "side by side"
ONE_THREAD = "one thread"
RESTS_MS = (10.0, 100.0)
Change = Callable[[ort.SessionOptions], None]


def _spin(options: ort.SessionOptions) -> None:
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")


def _spin_in_a_run(options: ort.SessionOptions) -> None:
    _spin(options)
    options.add_session_config_entry("session.force_spinning_stop", "1")


def _by_number(options: ort.SessionOptions) -> None:
    """As many as ONNX Runtime makes by itself, but those it holds on a core each, and these not."""
    options.intra_op_num_threads = usable_cores()


def _one_thread(options: ort.SessionOptions) -> None:
    options.intra_op_num_threads = 1


def _no_arena(options: ort.SessionOptions) -> None:
    options.enable_cpu_mem_arena = False


def _no_pattern(options: ort.SessionOptions) -> None:
    options.enable_mem_pattern = False


VARIANTS: dict[str, Change] = {
    BASE: lambda options: None,
    "threads spin": _spin,
    "threads spin, but not between runs": _spin_in_a_run,
    ONE_THREAD: _one_thread,
    "a thread per core, not held there": _by_number,
    "no arena": _no_arena,
    "no memory pattern": _no_pattern,
}


def main() -> None:
    parser = parser_of("session", __doc__)
    parser.add_argument("package", type=Path, help="the folder of a model package")
    parser.add_argument("--rounds", type=count, default=150, help="samples of each variant")
    parser.add_argument(
        "--rest-ms", type=amount, nargs="+", default=RESTS_MS, help="pauses before a run, ms"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("docs/results/session"), help="folder of the results"
    )
    given = parser.parse_args()
    package = ModelPackage.load(given.package)
    ort.set_default_logger_severity(ERRORS_ONLY)  # not that a variant overwrites an option
    rows = [
        row
        for file in package.manifest.files
        for views in (1, 8)
        for rest_ms in given.rest_ms
        for row in compare(
            package, given.package / file.file, file.precision, views, given.rounds, rest_ms
        )
    ]
    command = f"python -m benchmarks.session {given.package} --rounds {given.rounds}"
    if tuple(given.rest_ms) != RESTS_MS:
        command += " --rest-ms " + " ".join(f"{rest_ms:g}" for rest_ms in given.rest_ms)
    results = {
        "command": command,
        "environment": environment().model_dump(),
        "rows": rows,
    }
    write_results(given.out / "session", results, markdown(results))


def compare(
    package: ModelPackage, path: Path, precision: str, views: int, rounds: int, rest_ms: float
) -> list[dict[str, Any]]:
    """Time every variant on `views` crops, each after a rest; and both outputs against one."""
    side_px = package.manifest.input.crop_px
    batch = np.random.default_rng(0).integers(0, 256, (views, side_px, side_px, 3), np.uint8)
    lean = ort.RunOptions()
    lean.only_execute_path_to_fetches = True
    cores = usable_cores()
    pool = ThreadPoolExecutor(cores)
    runs: dict[str, Callable[[], Any]] = {}
    for name, change in VARIANTS.items():
        options = session_options("cpu", 0)
        change(options)
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        runs[name] = lambda session=session: session.run(["logits"], {"images": batch}, lean)
        if name == BASE:
            runs["both outputs"] = lambda session=session: session.run(None, {"images": batch})
        if name == ONE_THREAD:
            runs[SIDE_BY_SIDE] = lambda run=runs[name]: list(
                pool.map(lambda _: run(), range(cores))
            )
    times: dict[str, list[float]] = {name: [] for name in runs}
    work: dict[str, list[float]] = {name: [] for name in runs}
    for number, name in in_turns(runs, range(rounds + 3)):
        sleep(rest_ms / 1e3)
        began, used = perf_counter(), process_time()
        runs[name]()
        batches = cores if name == SIDE_BY_SIDE else 1
        taken = (perf_counter() - began) / batches
        spent = (process_time() - used) / batches
        if number >= 3:
            times[name].append(taken * 1e3)
            work[name].append(spent * 1e3)
    pool.shutdown()
    rows: list[dict[str, Any]] = []
    for name, own in times.items():
        ratio = paired_ratio(own, times[BASE])
        rows.append(
            {
                "precision": precision,
                "views": views,
                "rest_ms": rest_ms,
                "variant": name,
                "mean_ms": mean_interval(own).value,
                "cpu_ms": float(np.mean(work[name])),
                "ratio": (ratio.value, ratio.low, ratio.high),
            }
        )
    return rows


def markdown(results: dict[str, Any]) -> str:
    """The results as a table under the command that makes them."""
    machine = results["environment"]
    lines = [
        "# Session options",
        "",
        f"`{results['command']}`",
        "",
        f"{machine['taken_at']}, {machine['cpu']}, {machine['cores']} cores. CPU time counts all "
        "threads, spinning ones too.",
        "",
        "| precision | views | rest ms | variant | mean ms | CPU ms "
        "| × one batch on all cores (95%) |",
        "|---|--:|--:|---|--:|--:|--:|",
        *(
            f"| {r['precision']} | {r['views']} | {r['rest_ms']:g} | {r['variant']} "
            f"| {r['mean_ms']:.2f} | {r['cpu_ms']:.2f} "
            f"| {Interval(*r['ratio'])} |"
            for r in results["rows"]
        ),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run_benchmark(main)
