"""Accuracy against time, both from one run: the table behind the project's claim.

Accuracy comes from every given image, in batches. Time comes from a sample of the same images, one
image at a time. Every method answers the image once, in a new random order for each image, so
that a slower phase of the machine affects all of them. Times are from decoded pixels to
probabilities. Decoding costs every method the same and is reported separately. With an image
size, time comes from drawn JPEGs of this size instead.
"""

import random
import subprocess
import sys
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from rich.console import Console
from rich.progress import track

from service.bench.environment import Environment, environment, identity
from service.bench.image_size import ImageSize
from service.bench.photos import drawn_folder, sizes
from service.bench.report.statistics import Interval, mean_interval, paired_ratio, percentile
from service.inference.engine import run_all
from service.inference.image.geometry import FractionBox
from service.inference.option_text import boxes_text
from service.inference.predictor import Predictor
from service.package.manifest import Manifest, Mode, Precision
from service.package.recorded.settings import lines
from training.data.left_out import LeftOut, left_out
from training.evaluation.evaluate import against
from training.evaluation.methods import SINGLE, Method, methods
from training.evaluation.metrics import Scores, scores
from training.evaluation.paired import Paired
from training.evaluation.predictions import LabelledFile, Predictions, predict
from training.frontier.shapes import AS_THEY_ARE, Shape

BATCH_IMAGES = (1, 8, 32)
THROUGHPUT_IMAGES = 64
WARM_UP_IMAGES = 5

Key = tuple[Precision, str]


@dataclass(frozen=True)
class Point:
    """One method at one precision."""

    precision: Precision
    name: str
    baseline: bool
    scores: Scores
    against_single: Paired | None
    """Against the single crop of the same precision, on the same images."""
    against_fp32: Paired | None
    """Against the fp32 single crop, if that ran too."""
    cost: float
    """Pixels that the network saw, in single crops, mean over images."""
    mean_ms: Interval
    p50_ms: float
    p99_ms: float
    ratio: Interval
    """Mean time against the single crop of the same precision, paired by image."""
    ratio_fp32: Interval | None
    """The same against the fp32 single crop, if that ran too."""
    images_per_second: float
    best_batch_images: int
    peak_mib: float


@dataclass(frozen=True)
class Frontier:
    """Every point, and the conditions of the measurement."""

    points: tuple[Point, ...]
    images: int
    timed_images: int
    timed_sizes: str
    """The sizes in pixels of the timed images."""
    drawn: bool
    """The timed images were drawn."""
    aspect: float
    """Ratio of longer to shorter side that images were given; 1: they were left as they are."""
    stretch: bool
    """They were stretched to that ratio, not cut."""
    boxes: tuple[FractionBox, ...]
    """The crops of `custom`, as fractions of an image."""
    decode_ms: float
    environment: Environment
    package: str
    sha256: dict[str, str]
    """Of each file of the package, and of its manifest."""
    left_out: LeftOut
    threads: int = 0
    """Of each pass; 0: one for each core."""
    settings: tuple[str, ...] = ()
    """What in the package made the answers, in words: input, decoding, and the gates."""


def measure(
    package: Path,
    items: Sequence[LabelledFile],
    modes: Sequence[Mode],
    precisions: Sequence[Precision] = (),
    *,
    gate_costs: Sequence[float] = (0.75, 1.0, 1.25),
    timed_images: int = 300,
    threads: int = 0,
    shape: Shape = AS_THEY_ARE,
    boxes: tuple[FractionBox, ...] = (),
    image_size: ImageSize | None = None,
    seed: int = 0,
) -> Frontier:
    """Measure every method at every precision (by default all that the package has).

    `image_size` times drawn JPEGs of this size; by default a sample of the images is timed.
    `shape` cuts or stretches every image first. `boxes` are those of `custom`.

    Raises:
        DataError: a class that the model does not have, or no readable image.
    """
    loaded = Predictor.from_package(package, provider="cpu").package
    predictors: dict[Precision, Predictor] = {
        p: Predictor.from_package(package, precision=p, provider="cpu", threads=threads)
        for p in precisions or loaded.precisions
    }
    compared: dict[Precision, list[Method]] = {
        p: methods(one, modes, gate_costs, boxes) for p, one in predictors.items()
    }
    answers: dict[Precision, Predictions] = {
        p: predict(one, items, [shape.before(method) for method in compared[p]])
        for p, one in predictors.items()
    }
    kept = {path for got in answers.values() for path in got.paths}
    decoded = [item.path for item in items if item.path in kept]
    with _timed(decoded, timed_images, image_size, seed) as sample:
        times, decode_ms = _times(predictors, compared, sample, shape, seed)
        points = tuple(
            _point(
                precision,
                method,
                answers,
                times,
                _throughput(predictor, method, sample, shape),
                _peak_mib(package, precision, method.name, sample[0], boxes),
            )
            for precision, predictor in predictors.items()
            for method in compared[precision]
        )
        timed_sizes = sizes(path.read_bytes() for path in sample)
    return Frontier(
        points=points,
        images=min(len(got.labels) for got in answers.values()),
        timed_images=len(sample),
        timed_sizes=timed_sizes,
        drawn=image_size is not None,
        aspect=shape.aspect,
        stretch=shape.stretch,
        boxes=boxes,
        decode_ms=decode_ms,
        environment=environment(),
        package=f"{loaded.manifest.name}@{loaded.manifest.version}",
        sha256=identity(loaded).sha256,
        threads=threads,
        settings=tuple(lines(loaded, predictors)),
        left_out=_left_out(items, loaded.manifest, answers.values()),
    )


def _point(
    precision: Precision,
    method: Method,
    answers: Mapping[Precision, Predictions],
    times: Mapping[Key, Sequence[float]],
    throughput: tuple[float, int],
    peak_mib: float,
) -> Point:
    got = answers[precision]
    answered = got.by_name[method.name]
    own, single = times[precision, method.name], times.get(("fp32", SINGLE))
    is_single, fp32 = method.name == SINGLE, answers.get("fp32")
    return Point(
        precision=precision,
        name=method.name,
        baseline=method.baseline,
        scores=scores(answered.probabilities, got.labels),
        against_single=None if is_single else against(got, method.name, got, SINGLE),
        against_fp32=None
        if is_single and precision == "fp32"
        else against(got, method.name, fp32, SINGLE),
        cost=answered.cost,
        mean_ms=mean_interval(own),
        p50_ms=percentile(own, 50),
        p99_ms=percentile(own, 99),
        ratio=paired_ratio(own, times[precision, SINGLE]),
        ratio_fp32=paired_ratio(own, single) if single else None,
        images_per_second=throughput[0],
        best_batch_images=throughput[1],
        peak_mib=peak_mib,
    )


@contextmanager
def _timed(
    decoded: Sequence[Path], most: int, size: ImageSize | None, seed: int
) -> Generator[list[Path]]:
    """The images to time: some of `decoded`, or drawn ones of `size`, repeated as needed."""
    if size is None:
        yield random.Random(seed).sample(decoded, min(most, len(decoded)))
        return
    with drawn_folder(size) as folder:
        drawn = sorted(folder.iterdir())
        yield [drawn[number % len(drawn)] for number in range(most)]


def _left_out(
    items: Sequence[LabelledFile], manifest: Manifest, answers: Iterable[Predictions]
) -> LeftOut:
    present: set[int] = set()
    unreadable: dict[Path, str] = {}
    for got in answers:
        present |= set(got.labels.tolist())
        unreadable |= got.unreadable
    return left_out(items, manifest, present, unreadable)


def _times(
    predictors: Mapping[Precision, Predictor],
    compared: Mapping[Precision, Sequence[Method]],
    sample: Sequence[Path],
    shape: Shape,
    seed: int,
) -> tuple[dict[Key, list[float]], float]:
    """Milliseconds of every method for every image of the sample, and of decoding one image."""
    pairs: list[tuple[Precision, Method]] = [
        (p, method) for p, own in compared.items() for method in own
    ]
    times: dict[Key, list[float]] = {}
    for precision, method in pairs:
        times[precision, method.name] = []
    decoding: list[float] = []
    shuffle = random.Random(seed)
    console = Console(stderr=True)
    first = next(iter(predictors.values()))
    warm_up = [*sample[:WARM_UP_IMAGES], *sample]
    shown = track(warm_up, "time", console=console, disable=not console.is_terminal)
    for number, path in enumerate(shown):
        data = path.read_bytes()
        began = perf_counter()
        image = first.open_image(data)
        decoding.append(perf_counter() - began)
        image = shape.of(image)
        for precision, method in shuffle.sample(pairs, len(pairs)):
            predictor = predictors[precision]
            began = perf_counter()
            run_all([method.start(predictor, image)], predictor.session)
            taken = perf_counter() - began
            if number >= WARM_UP_IMAGES:
                times[precision, method.name].append(taken * 1e3)
    return times, float(np.median(decoding)) * 1e3


def _throughput(
    predictor: Predictor, method: Method, sample: Sequence[Path], shape: Shape
) -> tuple[float, int]:
    """Images per second from pixels, and the number of images at once that reached it."""
    paths = sample[:THROUGHPUT_IMAGES]
    decoded = {
        path: shape.of(predictor.open_image(path.read_bytes())) for path in dict.fromkeys(paths)
    }
    images = [decoded[path] for path in paths]
    rates: dict[int, float] = {}
    for batch in BATCH_IMAGES:
        run_all([method.start(predictor, i) for i in images[:batch]], predictor.session)
        began = perf_counter()
        for start in range(0, len(images), batch):
            steps = [method.start(predictor, i) for i in images[start : start + batch]]
            run_all(steps, predictor.session)
        rates[batch] = len(images) / (perf_counter() - began)
    best = max(rates, key=lambda batch: rates[batch])
    return rates[best], best


def _peak_mib(
    package: Path, precision: Precision, name: str, image: Path, boxes: Sequence[FractionBox]
) -> float:
    """Peak memory of a new process that answers one batch of 32 images with this method."""
    command = [
        sys.executable,
        "-m",
        "training.frontier.peak_memory",
        package,
        precision,
        name,
        image,
        boxes_text(boxes),
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)  # noqa: S603
    return float(done.stdout)
