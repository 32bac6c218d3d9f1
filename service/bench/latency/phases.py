"""Run one batch of images through the code that serves, and measure the time of each phase."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

from service.bench.report.results import Phase
from service.inference.engine import run_all
from service.inference.predictor import Predictor
from service.inference.stage_clock import StageClock
from service.inference.tta.steps import Options, check_options, classify_steps


@dataclass(frozen=True)
class Timed:
    """One batch: ms of each phase, which add up to the whole."""

    phases_ms: dict[Phase, float]
    passes: int
    """Passes through the network, over all images of the batch."""


def run_batch(files: Sequence[bytes], options: Options, predictor: Predictor) -> Timed:
    """Decode `files`, classify them as one batch of images, and time it.

    The phase `views` is the rest: cutting the views and copying them into batches.
    """
    clock = StageClock()
    start = perf_counter()
    images = [predictor.open_image(data, options.boxes) for data in files]
    decode = perf_counter() - start
    model = predictor.model
    check_options(options, model)
    with clock.recording():
        steps = (classify_steps(image, options, model) for image in images)
        answers = run_all(steps, predictor.session)
    total = perf_counter() - start
    phases: dict[Phase, float] = {
        "decode": decode,
        "resize": clock.seconds["resize"],
        "views": total - decode - sum(clock.seconds.values()),
        "inference": clock.seconds["inference"],
        "aggregation": clock.seconds["aggregation"],
    }
    return Timed(
        {phase: seconds * 1e3 for phase, seconds in phases.items()},
        sum(answer.passes for answer in answers),
    )
