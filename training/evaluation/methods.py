"""The compared methods of answering an image: every TTA mode, and baselines."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from service.errors import UsageError
from service.inference.image.geometry import FractionBox, Size
from service.inference.image.views import AnyImage, as_pixels, size_of
from service.inference.predictor import Predictor
from service.inference.tta.aggregate import softmax, temper
from service.inference.tta.passes import StepsOf, read_passes
from service.inference.tta.steps import Options
from service.package.manifest import Mode
from service.package.modes import why_not

RANDOM_VIEWS = 4
PLAIN_SHARE = 0.25
MIN_SCALE = 0.35

Baseline = Literal["full_image", "five_passes", "fastai_tta"]
"""Methods that are not served, but that TTA is compared with: see `BASELINE_STEPS`."""
BASELINES: tuple[Baseline, ...] = get_args(Baseline)
MethodName = Mode | Baseline
SINGLE = "single crop"
"""The name of `none` among `methods`."""


def method_names() -> tuple[str, ...]:
    """The modes and baselines that `evaluate` knows."""
    return (*get_args(Mode), *BASELINES)


@dataclass(frozen=True)
class Result:
    """A method's answer for one image, and its cost in single crops."""

    probabilities: np.ndarray
    cost: float
    gate_open: bool | None = None
    prediction_set: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Method:
    """A named method of answering an image; `start` begins with one image."""

    name: str
    start: Callable[[Predictor, AnyImage], StepsOf[Result]]
    baseline: bool = False


def methods(
    predictor: Predictor,
    modes: Sequence[Mode],
    gate_costs: Sequence[float],
    boxes: tuple[FractionBox, ...] = (),
) -> list[Method]:
    """The modes, `adaptive` at every affordable gate cost, and the baselines.

    `boxes` are those of `custom`.
    """
    made = [
        replace(method_named(mode, boxes=boxes), name=SINGLE if mode == "none" else mode)
        for mode in modes
    ]
    gates = predictor.model.calibration("adaptive").gate_curve
    if "adaptive" in modes and gates:
        cheapest = min(gate.expected_cost for gate in gates)
        made += [
            served_mode(f"adaptive, {cost:g} crops", Options(tta="adaptive", gate_cost=cost))
            for cost in gate_costs
            if cost >= cheapest
        ]
    whole = predictor.manifest.graph.takes_whole_images
    return made + [method_named(one) for one in BASELINES if whole or one != "full_image"]


def method_named(
    name: MethodName, coverage: float | None = None, boxes: tuple[FractionBox, ...] = ()
) -> Method:
    """A mode as it is served, or a baseline.

    `coverage` asks for prediction sets of a mode. `boxes` are those of `custom`.
    """
    if name == "full_image" or name == "five_passes" or name == "fastai_tta":
        return Method(name, BASELINE_STEPS[name], baseline=True)
    own = boxes if name == "custom" else ()
    return served_mode(name, Options(tta=name, coverage=coverage, boxes=own))


def served_mode(name: str, options: Options) -> Method:
    """A mode as it is served."""

    def start(predictor: Predictor, image: AnyImage) -> StepsOf[Result]:
        answer = yield from predictor.start(image, options)
        return Result(answer.probabilities, answer.cost, answer.gate_open, answer.prediction_set)

    return Method(name, start)


def _full_image(predictor: Predictor, image: AnyImage) -> StepsOf[Result]:
    """The whole image at the size of `dense`, pooled by the network itself, without windows."""
    planner = predictor.model.planner
    if reason := why_not(predictor.manifest, "dense"):
        raise UsageError(f"full_image: {reason}")
    passes = (planner.whole_image(size_of(image)),)
    read = yield from read_passes(image, passes)
    return Result(_tempered(predictor, "dense", softmax(read.logits[0])), planner.cost(passes))


def _five_passes(predictor: Predictor, image: AnyImage) -> StepsOf[Result]:
    """Five crops in the usual way: each runs through the whole network, and nothing is shared."""
    planner = predictor.model.planner
    passes = planner.passes("five_crop", size_of(image))
    read = yield from read_passes(image, passes)
    mean = softmax(read.logits).mean(0)
    return Result(_tempered(predictor, "five_crop", mean), planner.cost(passes))


def _fastai_tta(predictor: Predictor, image: AnyImage) -> StepsOf[Result]:
    """fastai's `learn.tta`: four random training views averaged after softmax, and the centre crop.

    The answer is 0.75 of the mean of the random views and 0.25 of the centre crop (`beta=0.25`).
    The views are random resized crops and flips with the recipe's values, seeded by the image.
    """
    planner = predictor.model.planner
    size, pixels = size_of(image), as_pixels(image)
    random = np.random.default_rng(int(pixels[:: max(1, len(pixels) // 8), ::8].sum()))
    side = max(size.height, size.width)
    seen = size if planner.input.fit == "shorter_side" else Size(side, side)  # as in training
    boxes = tuple(_random_box(seen, random) for _ in range(RANDOM_VIEWS))
    passes = (*planner.passes("none", size), *planner.passes("custom", size, boxes))
    read = yield from read_passes(image, passes)
    probabilities = softmax(read.logits)
    mixed = PLAIN_SHARE * probabilities[0] + (1 - PLAIN_SHARE) * probabilities[1:].mean(0)
    return Result(_tempered(predictor, "five_crop", mixed), planner.cost(passes))


def _tempered(predictor: Predictor, mode: Mode, raw: np.ndarray) -> np.ndarray:
    """Temper the answer of a baseline as that of the nearest mode."""
    own = predictor.model.calibration(mode)
    return temper(raw, own.temperature, power=own.temperature_power)


def _random_box(size: Size, random: np.random.Generator) -> FractionBox:
    """A random resized crop, drawn as in torchvision and fastai: area, aspect, then position."""
    for _ in range(10):
        area = random.uniform(MIN_SCALE, 1) * size.pixels
        ratio = np.exp(random.uniform(np.log(3 / 4), np.log(4 / 3)))
        width, height = np.sqrt(area * ratio), np.sqrt(area / ratio)
        if width <= size.width and height <= size.height:
            break
    else:
        width = height = min(size.height, size.width)
    left, top = random.uniform(0, size.width - width), random.uniform(0, size.height - height)
    return FractionBox(
        left=left / size.width,
        top=top / size.height,
        right=min(1.0, (left + width) / size.width),
        bottom=min(1.0, (top + height) / size.height),
        flip=bool(random.integers(2)),
    )


BASELINE_STEPS: dict[Baseline, Callable[[Predictor, AnyImage], StepsOf[Result]]] = {
    "full_image": _full_image,
    "five_passes": _five_passes,
    "fastai_tta": _fastai_tta,
}
