"""``python -m benchmarks.gpu PACKAGE [--out docs/results/gpu]``: the checks and figures of a GPU.

The checks come first, and a failed check ends the run: the GPU's logits must agree with the CPU's,
padded buckets and CUDA graphs with plain runs, fp16 with fp32. Then follow the cost of a pass by
shape and batch size, and the cost that TTA adds, interleaved and with intervals. ``--provider cpu``
runs all of it without a GPU. The script itself is tested in this way.
"""

import argparse
import json
import random
import shutil
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any, get_args

import numpy as np

from benchmarks.gpu.report import markdown
from service.bench.environment import environment
from service.bench.report.statistics import mean_interval, paired_ratio, percentile
from service.inference.engine import run_all
from service.inference.predictor import Predictor
from service.inference.runtime.io_binding import BUCKETS
from service.inference.runtime.providers import Provider
from service.inference.runtime.session import Output, Session
from service.inference.tta.steps import Options
from service.package.manifest import Mode, Precision
from service.package.package import ModelPackage

TOLERANCES: dict[Precision, float] = {"fp32": 1e-3, "fp16": 3e-2, "int8": 1e-3}
SHAPES_PX = ((0, 0), (0, 64))  # added to crop_px: a square crop and a rectangle
MODES: tuple[Mode, ...] = ("none", "five_crop", "dense")
OUTPUTS: tuple[Output, ...] = ("logits", "class_map")
ROUNDS = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", type=Path)
    parser.add_argument("--provider", choices=get_args(Provider), default="cuda")
    parser.add_argument("--out", type=Path, default=Path("docs/results/gpu"))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / given.package.name
        shutil.copytree(given.package, package)  # fp16 is derived here, in a copy
        results = run(package, given.provider, given.rounds)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "gpu.json").write_text(json.dumps(results, indent=1) + "\n")
    command = f"python -m benchmarks.gpu {given.package} --provider {given.provider}"
    text = markdown(results, command)
    (given.out / "gpu.md").write_text(text)
    print(text)


def run(package: Path, provider: Provider, rounds: int) -> dict[str, Any]:
    """All checks, then all measurements."""
    if provider != "cpu" and "fp16" not in ModelPackage.load(package).precisions:
        from training.export.fp16 import add_fp16

        add_fp16(package)
    loaded = ModelPackage.load(package)
    precisions: list[Precision] = [p for p in loaded.precisions if provider == "cpu" or p != "int8"]
    checks = [check(loaded, precision, provider) for precision in precisions]
    return {
        "environment": environment().model_dump(),
        "package": f"{loaded.manifest.name}@{loaded.manifest.version}",
        "provider": provider,
        "crop_px": loaded.manifest.input.crop_px,
        "checks": checks,
        "passes": [row for p in precisions for row in passes(loaded, p, provider, rounds)],
        "modes": [row for p in precisions for row in modes(package, p, provider, rounds)],
    }


def check(package: ModelPackage, precision: Precision, provider: Provider) -> dict[str, Any]:
    """Compare a precision on the provider with the fp32 graph on the CPU.

    Raises:
        SystemExit: they disagree by more than the tolerance.
    """
    path = package.path(precision)
    reference = Session.open(path if precision == "int8" else package.path("fp32"), provider="cpu")
    tested = Session.open(path, provider=provider, io_binding=True)
    noise = np.random.default_rng(0)
    side = package.manifest.input.crop_px
    worst = 0.0
    for views in (1, 3, 8, 70, 3):  # 3 twice: the second replays a recorded graph
        for high, wide in SHAPES_PX:
            shape = (views, (side + high) // 16, (side + wide) // 16, 3)
            batch = noise.integers(0, 256, shape, np.uint8).repeat(16, 1).repeat(16, 2)
            for output in OUTPUTS:
                expected = reference.run(batch, output)
                apart = np.abs(tested.run(batch, output) - expected).max()
                worst = max(worst, float(apart / np.abs(expected).max()))
    if not worst <= TOLERANCES[precision]:
        raise SystemExit(
            f"{precision} on {provider} differs from the CPU by {worst:.1e} of the largest output; "
            f"the limit is {TOLERANCES[precision]:.0e}"
        )
    return {"precision": precision, "largest_relative_difference": worst}


def passes(
    package: ModelPackage, precision: Precision, provider: Provider, rounds: int
) -> list[dict[str, Any]]:
    """Milliseconds of one pass by output, side and bucket, from host memory to host memory."""
    session = Session.open(package.path(precision), provider=provider, io_binding=True)
    sizes = package.manifest.input
    cases = [
        (output, side_px, views)
        for output, side_px in (("logits", sizes.crop_px), ("class_map", sizes.resize_px))
        for views in BUCKETS
    ]
    noise = np.random.default_rng(0)
    batches = {
        (side_px, views): noise.integers(0, 256, (views, side_px, side_px, 3), np.uint8)
        for _, side_px, views in cases
    }
    times: dict[Any, list[float]] = {case: [] for case in cases}
    for number in range(rounds + 3):
        for case in random.Random(number).sample(cases, len(cases)):
            output, side_px, views = case
            began = perf_counter()
            session.run(batches[side_px, views], output)  # type: ignore[arg-type]
            if number >= 3:
                times[case].append((perf_counter() - began) * 1e3)
    return [
        {
            "precision": precision,
            "output": output,
            "side_px": side_px,
            "views": views,
            "p50_ms": percentile(times[output, side_px, views], 50),
            "p99_ms": percentile(times[output, side_px, views], 99),
            "views_per_second": views / np.mean(times[output, side_px, views]) * 1e3,
        }
        for output, side_px, views in cases
    ]


def modes(
    folder: Path, precision: Precision, provider: Provider, rounds: int
) -> list[dict[str, Any]]:
    """The cost of a mode relative to a single crop, for 1 and for 32 images at once."""
    predictor = Predictor.from_package(folder, precision=precision, provider=provider)
    side_px = predictor.manifest.input.resize_px
    image = np.random.default_rng(0).integers(0, 256, (side_px, side_px, 3), np.uint8)
    rows: list[dict[str, Any]] = []
    for images in (1, 32):
        times: dict[Mode, list[float]] = {mode: [] for mode in MODES}
        for number in range(rounds + 3):
            for mode in random.Random(number).sample(MODES, len(MODES)):
                began = perf_counter()
                generators = [predictor.start(image, Options(tta=mode)) for _ in range(images)]
                run_all(generators, predictor.session)
                if number >= 3:
                    times[mode].append((perf_counter() - began) * 1e3)
        for mode in MODES:
            mean = mean_interval(times[mode])
            ratio = paired_ratio(times[mode], times["none"])
            rows.append(
                {
                    "precision": precision,
                    "mode": mode,
                    "images": images,
                    "mean_ms": mean.value,
                    "p99_ms": percentile(times[mode], 99),
                    "images_per_second": images / mean.value * 1e3,
                    "ratio": (ratio.value, ratio.low, ratio.high),
                }
            )
    return rows


if __name__ == "__main__":
    main()
