"""The constants of the cost model: one line for decoding, one for a pass, measured in one run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from benchmarks.turns import in_turns
from service.bench.report.statistics import Interval, mean_interval
from service.inference.engine import run_all
from service.inference.image.geometry import Size
from service.inference.image.views import resize
from service.inference.predictor import Predictor
from service.inference.runtime.session import Output
from service.inference.tta.steps import Options
from service.package.manifest import Mode

MODES: tuple[Mode, ...] = ("none", "five_crop", "ten_crop", "dense", "centre_dense")
WARM_UP = 3


@dataclass(frozen=True)
class Measured:
    """Mean milliseconds of each kind of work."""

    decode: Interval
    """A photo's bytes to pixels, on one thread."""
    resize: Interval
    """Those pixels to the served size, on one thread."""
    passes: dict[tuple[int, int], Interval]
    """(side in pixels, views in the batch) to one run of the session."""
    modes: dict[Mode, Interval]
    """From a photo's bytes to probabilities, one photo at a time."""


def measure(
    predictor: Predictor, files: Sequence[bytes], cases: Sequence[tuple[int, int]], rounds: int
) -> Measured:
    """Measure everything once a round, in a new random order. Each round uses another photo."""
    noise = np.random.default_rng(0)
    inputs = {
        (side, views): noise.integers(0, 256, (views, side, side, 3), np.uint8)
        for side, views in cases
    }
    side_px = predictor.manifest.input.resize_px
    crop_px = predictor.manifest.input.crop_px

    def one_pass(case: tuple[int, int]) -> Callable[[int], object]:
        output: Output = "logits" if case[0] == crop_px else "class_map"
        return lambda _: predictor.session.run(inputs[case], output)

    def one_mode(mode: Mode) -> Callable[[int], object]:
        def run(number: int) -> object:
            image = predictor.open_image(files[number % len(files)])
            return run_all([predictor.start(image, Options(tta=mode))], predictor.session)

        return run

    pixels = [predictor.open_image(data) for data in files]
    work: dict[object, Callable[[int], object]] = {
        "decode": lambda number: predictor.open_image(files[number % len(files)]),
        "resize": lambda number: resize(pixels[number % len(files)], Size(side_px, side_px)),
        **{case: one_pass(case) for case in cases},
        **{mode: one_mode(mode) for mode in MODES},
    }
    times: dict[object, list[float]] = {name: [] for name in work}
    for number, name in in_turns(work, range(rounds + WARM_UP)):
        began = perf_counter()
        work[name](number)
        if number >= WARM_UP:
            times[name].append((perf_counter() - began) * 1e3)
    means = {name: mean_interval(own) for name, own in times.items()}
    return Measured(
        decode=means["decode"],
        resize=means["resize"],
        passes={case: means[case] for case in cases},
        modes={mode: means[mode] for mode in MODES},
    )


@dataclass(frozen=True)
class Line:
    """Milliseconds of a pass: `fixed` and `per_crop` for each single crop's worth of pixels."""

    fixed: float
    per_crop: float

    def ms(self, crops: float) -> float:
        return self.fixed + self.per_crop * crops


def line(passes: dict[tuple[int, int], Interval], crop_px: int) -> Line:
    """Least squares through every measured pass, each error weighted as a share of its time."""
    crops = np.array([views * (side / crop_px) ** 2 for side, views in passes])
    taken = np.array([interval.value for interval in passes.values()])
    design = np.stack([np.ones_like(crops), crops], axis=1) / taken[:, None]
    (fixed, per_crop), *_ = np.linalg.lstsq(design, np.ones_like(taken), rcond=None)
    return Line(float(fixed), float(per_crop))
