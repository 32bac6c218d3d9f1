"""Checks and measurements of the engine: agreement with the CPU, passes, and modes."""

from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.turns import in_turns
from service.bench.report.statistics import mean_interval, paired_ratio, percentile
from service.inference.engine import run_all
from service.inference.opening import open_package
from service.inference.predictor import Predictor
from service.inference.runtime import providers
from service.inference.runtime.io_binding import BUCKETS
from service.inference.runtime.providers import Provider
from service.inference.runtime.session import Output, Session
from service.inference.tta.steps import Options
from service.package.manifest import Mode, Precision
from service.package.package import ModelPackage

TOLERANCES: dict[Precision, float] = {"fp32": 1e-3, "fp16": 3e-2, "int8": 1e-3}
"""Of logits and class maps, as a share of the largest output. fp32 is checked without TF32."""
PROBABILITY_TOLERANCE = 1e-2
SHAPES_PX = ((0, 0), (0, 64))  # added to crop_px: a square crop and a rectangle
CHECKED_VIEWS = (3, 8, 70, 1)
REPLAYS = 2
LATER_PX = 32
LEAST_ROUNDS, WARM_UP_ROUNDS = 2, 1
PIXELS = 16


class Disagreement(Exception):
    """An output is not that of the CPU."""


Clock = Callable[[], float]
"""Seconds that are left of a part's time."""


def opened(
    package: ModelPackage, precision: Precision, provider: Provider, *, tf32: bool = True
) -> Session:
    """A graph with fixed buffers, derived where the package lacks it."""
    chosen = providers.choose(provider)
    found = open_package(package, precision, chosen, (0,), io_binding=True, tf32=tf32)
    return found.sessions[0]


def check(
    package: ModelPackage, precision: Precision, provider: Provider, left_s: Clock = lambda: 1.0
) -> dict[str, Any]:
    """Compare a precision on the provider with the fp32 graph on the CPU.

    First every batch size runs once, which records its CUDA graph. Then all of them run again in
    another order, so a graph is replayed after others were recorded. At last a shape runs that was
    not recorded.

    Raises:
        Disagreement: they disagree by more than the tolerance.
    """
    expected_of: Precision = "int8" if precision == "int8" else "fp32"
    reference = Session.open(package.path(expected_of), provider="cpu")
    tested = opened(package, precision, provider, tf32=False)
    outputs: list[Output] = ["logits"]
    if package.manifest.graph.kind == "class_map":
        outputs.append("class_map")
    shapes = SHAPES_PX if package.manifest.graph.sizes == "dynamic" else SHAPES_PX[:1]
    side = package.manifest.input.crop_px
    noise = np.random.default_rng(0)
    apart: list[float] = []
    expected: dict[tuple[int, int, Output], NDArray[np.float32]] = {}
    batches: dict[tuple[int, int], NDArray[np.uint8]] = {}

    def compare(views: int, shape: int, output: Output) -> None:
        given, of_cpu = batches[views, shape], expected[views, shape, output]
        found = np.abs(tested.run(given, output) - of_cpu).max() / np.abs(of_cpu).max()
        apart.append(float(found))

    for views in CHECKED_VIEWS:
        if len(batches) > 1 and left_s() <= 0:
            break
        for number, (high, wide) in enumerate(shapes):
            batches[views, number] = _drawn(noise, views, side + high, side + wide)
            for output in outputs:
                expected[views, number, output] = reference.run(batches[views, number], output)
                compare(views, number, output)
    again = list(expected)
    for _, case in in_turns(again, range(REPLAYS)):
        if left_s() > 0:
            compare(*case)
    if len(shapes) > 1 and tested.bound is not None:
        tested.bound.warm_up(lambda _: None)  # from now on a new shape runs without a graph
        batches[2, -1] = _drawn(noise, 2, side + LATER_PX, side)
        for output in outputs:
            expected[2, -1, output] = reference.run(batches[2, -1], output)
            compare(2, -1, output)
    worst = float(np.max(apart))  # NaN, if any is NaN
    if not worst <= TOLERANCES[precision]:
        raise Disagreement(
            f"{precision} on {provider} differs from the CPU by {worst:.1e} of the largest output; "
            f"the limit is {TOLERANCES[precision]:.0e}"
        )
    views_checked = [views for views, shape in batches if shape == 0]
    return {
        "precision": precision,
        "largest_relative_difference": worst,
        "views": views_checked,
        "runs": len(apart),
    }


def _drawn(noise: np.random.Generator, views: int, height: int, width: int) -> NDArray[np.uint8]:
    """Random cells: uint8[views, height, width, 3]."""
    coarse = (views, -(-height // PIXELS), -(-width // PIXELS), 3)
    batch = noise.integers(0, 256, coarse, np.uint8).repeat(PIXELS, 1).repeat(PIXELS, 2)
    return np.ascontiguousarray(batch[:, :height, :width])


def passes(
    package: ModelPackage, precision: Precision, provider: Provider, rounds: int, left_s: Clock
) -> list[dict[str, Any]]:
    """Milliseconds of one pass by output, side and bucket, from host memory to host memory."""
    session = opened(package, precision, provider)
    sizes = package.manifest.input
    wanted: list[tuple[Output, int]] = [("logits", sizes.crop_px)]
    if package.manifest.graph.kind == "class_map":
        wanted.append(("class_map", sizes.resize_px))
    cases: list[tuple[Output, int, int]] = [
        (output, side_px, views) for output, side_px in wanted for views in BUCKETS
    ]
    noise = np.random.default_rng(0)
    batches = {
        (side_px, views): noise.integers(0, 256, (views, side_px, side_px, 3), np.uint8)
        for _, side_px, views in cases
    }
    if session.bound is not None:  # each runner records its own graphs
        session.bound.warm_up(
            lambda runner: [
                runner.run(batches[side_px, views], output)
                for output, side_px, views in cases
                for _ in range(2)
            ]
        )
    times: dict[Any, list[float]] = {case: [] for case in cases}
    for number, case in in_turns(cases, _rounds(rounds, left_s)):
        output, side_px, views = case
        began = perf_counter()
        session.run(batches[side_px, views], output)
        if number >= WARM_UP_ROUNDS:
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
    package: ModelPackage, precision: Precision, provider: Provider, rounds: int, left_s: Clock
) -> list[dict[str, Any]]:
    """The cost of a mode relative to a single crop, for 1 and for 32 images at once."""
    predictor = Predictor.from_package(package.folder, precision=precision, provider=provider)
    predictor.warm_up()
    side_px = predictor.manifest.input.resize_px
    image = np.random.default_rng(0).integers(0, 256, (side_px, side_px, 3), np.uint8)
    rows: list[dict[str, Any]] = []
    compared: list[Mode] = [mode for mode in predictor.model.modes if mode != "custom"]
    for images in (1, 32):
        times: dict[Mode, list[float]] = {mode: [] for mode in compared}
        for number, mode in in_turns(compared, _rounds(rounds, left_s)):
            began = perf_counter()
            generators = [predictor.start(image, Options(tta=mode)) for _ in range(images)]
            run_all(generators, predictor.session)
            if number >= WARM_UP_ROUNDS:
                times[mode].append((perf_counter() - began) * 1e3)
        for mode in compared:
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


def _rounds(most: int, left_s: Clock) -> Iterator[int]:
    """Warm-up rounds, then rounds while there is time, at least a few."""
    for number in range(most + WARM_UP_ROUNDS):
        if number >= LEAST_ROUNDS + WARM_UP_ROUNDS and left_s() <= 0:
            return
        yield number
