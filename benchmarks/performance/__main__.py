"""``python -m benchmarks.performance PACKAGE --images FOLDER``: the cost model, with its constants.

It counts the operations and bytes of a pass, measures the best rates of the machine, and times
passes and modes in one run. It compares the model's prediction for every mode with the measured
time. Writes docs/results/performance.
"""

import os
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.arguments import (
    command_line,
    count,
    count_or_zero,
    folder_path,
    parser_of,
    run_benchmark,
)
from benchmarks.performance import accelerator, constants, peaks, work
from benchmarks.performance.constants import Line, Measured
from benchmarks.results import write_results
from service.bench.environment import environment, identity
from service.bench.photos import photos
from service.bench.report.tables import ReportTable, ms
from service.inference.decode import decode
from service.inference.image.geometry import Size
from service.inference.image.views import size_of
from service.inference.predictor import Predictor
from service.package.manifest import Mode, Precision

BATCHES = (1, 5, 8)


def main() -> None:
    parser = parser_of("performance", __doc__)
    parser.add_argument("package", type=Path, help="the folder of a model package")
    parser.add_argument(
        "--images", type=folder_path, help="a folder of photos; by default JPEGs are drawn"
    )
    parser.add_argument("--rounds", type=count, default=150, help="samples of each time")
    parser.add_argument("--threads", type=count_or_zero, default=0, help="threads; 0: one per core")
    parser.add_argument(
        "--out", type=Path, default=Path("docs/results/performance"), help="folder of the results"
    )
    given = parser.parse_args()
    results = run(given.package, given.images, given.rounds, given.threads)
    results["command"] = command_line("performance")
    write_results(given.out / "performance", results, markdown(results))


def run(package: Path, folder: Path | None, rounds: int, threads: int) -> dict[str, Any]:
    """All measurements, at every precision of the package that runs on a CPU."""
    pictures = photos(folder, None, seed=0)
    cores = threads or os.cpu_count() or 1
    seen = [size_of(decode(data)) for data in pictures.files]
    before = peaks.measure(cores)
    opened: dict[Precision, Predictor] = {
        precision: Predictor.from_package(
            package, precision=precision, provider="cpu", threads=threads
        )
        for precision in Predictor.from_package(package, provider="cpu").package.precisions
        if precision != "fp16"
    }
    first = next(iter(opened.values()))
    sizes = first.manifest.input
    sides = sorted({64, 96, sizes.crop_px, sizes.resize_px})
    cases = [(side, views) for side in sides for views in BATCHES]
    timed = {
        precision: constants.measure(predictor, pictures.files, cases, rounds)
        for precision, predictor in opened.items()
    }
    best = peaks.better(before, peaks.measure(cores))
    rows: dict[Precision, Any] = {}
    for precision, predictor in opened.items():
        measured = timed[precision]
        fitted = constants.line(measured.passes, sizes.crop_px)
        peak = best.int8_gops if precision == "int8" else best.fp32_gops
        path = package / predictor.session.path.name
        counted = {side: work.count(path, precision, side) for side in sides}
        rows[precision] = {
            "line": asdict(fitted),
            "decode_ms": asdict(measured.decode),
            "resize_ms": asdict(measured.resize),
            "work": {side: asdict(one) for side, one in counted.items()},
            "passes": [
                _pass(side, views, taken.value, counted[side], peak, best.copy_gbytes)
                for (side, views), taken in measured.passes.items()
            ],
            "modes": [_mode(predictor, mode, measured, fitted, seen) for mode in measured.modes],
        }
    return {
        "environment": environment().model_dump(),
        "package": identity(first.package).model_dump(),
        "images": pictures.description,
        "rounds": rounds,
        "peaks": asdict(best),
        "precisions": rows,
        "accelerator": asdict(accelerator.H100),
        "predicted": _predicted(first, rows, package),
    }


def _pass(
    side: int, views: int, taken_ms: float, one: work.Work, peak_gops: float, copy_gbytes: float
) -> dict[str, Any]:
    """A measured pass beside the least time that its operations and its bytes allow."""
    operations_ms = views * one.operations / peak_gops / 1e6
    moved = one.weight_bytes + views * one.activation_bytes
    return {
        "side_px": side,
        "views": views,
        "ms": taken_ms,
        "operations_ms": operations_ms,
        "bytes_ms": moved / copy_gbytes / 1e6,
        "share_of_peak": operations_ms / taken_ms,
    }


def _mode(
    predictor: Predictor, mode: Mode, measured: Measured, fitted: Line, seen: list[Size]
) -> dict[str, Any]:
    """The predicted time of a mode, for photos of the sizes `seen`, and the measured time."""
    planner = predictor.model.planner
    crops = mean(planner.cost(planner.passes(mode, size)) for size in seen)
    predicted = measured.decode.value + measured.resize.value + fitted.ms(crops)
    taken = measured.modes[mode]
    return {
        "mode": mode,
        "crops": crops,
        "predicted_ms": predicted,
        "ms": asdict(taken),
        "prediction_off": predicted / taken.value - 1,
    }


def _predicted(first: Predictor, rows: dict[Precision, Any], package: Path) -> list[dict[str, Any]]:
    """The same model on a GPU: decode and resize on its host's cores, the passes in fp16."""
    planner = first.model.planner
    side = first.manifest.input.resize_px
    row = rows[first.precision]
    host_ms = row["decode_ms"]["value"] + row["resize_ms"]["value"]
    crop = work.count(package / "model.onnx", "fp32", first.manifest.input.crop_px)
    made: list[dict[str, Any]] = []
    for mode in constants.MODES:
        passes = planner.passes(mode, Size(side, side))
        pixels = sum(one.size.pixels for one in passes)
        rates = accelerator.predict(
            accelerator.H100, host_ms, pixels, crop.operations * planner.cost(passes)
        )
        made.append({"mode": mode, **asdict(rates), "limit": rates.limit})
    return made


def markdown(results: dict[str, Any]) -> str:
    """Constants, passes against their limits, modes against the model, and the prediction."""
    machine, best = results["environment"], results["peaks"]
    lines = [
        "# The cost model",
        "",
        f"`{results['command']}`",
        "",
        f"{machine['taken_at']}, {machine['cpu']}, {machine['cores']} cores; "
        f"{results['package']['name']}@{results['package']['version']}; {results['images']}; "
        f"{results['rounds']} rounds.",
        "",
        f"At best these cores do {best['fp32_gops']:.0f} G operations/s in fp32 and "
        f"{best['int8_gops']:.0f} in int8 (products of 1024² matrices), and copy "
        f"{best['copy_gbytes']:.1f} GB/s (read and written).",
    ]
    for precision, row in results["precisions"].items():
        fitted = row["line"]
        lines += [
            "",
            f"## {precision}",
            "",
            f"decode {_interval(row['decode_ms'])} ms and resize {_interval(row['resize_ms'])} ms "
            f"on one thread; a pass {fitted['fixed']:.2f} ms + {fitted['per_crop']:.2f} ms for "
            "each single crop's worth of pixels.",
            "",
            _passes(row).markdown(),
            "",
            _modes(row).markdown(),
        ]
    lines += [
        "",
        f"## Predicted: {results['accelerator']['name']}",
        "",
        _rates(results).markdown(),
    ]
    return "\n".join(lines) + "\n"


def _interval(value: dict[str, float]) -> str:
    return f"{ms(value['value'])} [{ms(value['low'])}, {ms(value['high'])}]"


def _passes(row: dict[str, Any]) -> ReportTable:
    return ReportTable(
        "Passes",
        (
            *("side px", "views", "G operations", "ms", "ms by operations", "ms by bytes"),
            "share of the cores' best",
        ),
        tuple(
            (
                str(one["side_px"]),
                str(one["views"]),
                f"{one['views'] * row['work'][one['side_px']]['operations'] / 1e9:.2f}",
                *(ms(one[key]) for key in ("ms", "operations_ms", "bytes_ms")),
                f"{one['share_of_peak']:.0%}",
            )
            for one in row["passes"]
        ),
    )


def _modes(row: dict[str, Any]) -> ReportTable:
    return ReportTable(
        "Modes",
        ("mode", "crops", "model ms", "measured ms [95%]", "model off by"),
        tuple(
            (
                one["mode"],
                f"{one['crops']:.2f}",
                ms(one["predicted_ms"]),
                _interval(one["ms"]),
                f"{one['prediction_off']:+.0%}",
            )
            for one in row["modes"]
        ),
    )


def _rates(results: dict[str, Any]) -> ReportTable:
    return ReportTable(
        "Images per second",
        ("mode", "decode allows", "transfer allows", "compute allows", "limit"),
        tuple(
            (
                one["mode"],
                *(f"{one[part]:,.0f}/s" for part in ("decode", "transfer", "compute")),
                one["limit"],
            )
            for one in results["predicted"]
        ),
    )


if __name__ == "__main__":
    run_benchmark(main)
