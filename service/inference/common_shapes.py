"""The shapes of batches that photos of common shapes need, run once before the service is ready."""

from collections.abc import Iterator

import numpy as np

from service.inference.engine import InProgress
from service.inference.runtime.in_turn import RunnersInTurn
from service.inference.runtime.io_binding import BUCKETS, IoBindingRunner
from service.inference.tta.passes import Key, View, run_batch
from service.inference.tta.steps import Model, Options, classify_steps

ASPECTS = ((1, 1), (4, 3), (3, 2), (16, 9))
"""Width and height of common photos. The same upright follow from them."""


def common_sizes(side_px: int) -> Iterator[tuple[int, int]]:
    """Height and width of photos of common shapes whose shorter side is `side_px`."""
    for long, short in ASPECTS:
        longer = round(side_px * long / short)
        yield from dict.fromkeys(((side_px, longer), (longer, side_px)))


def common_views(model: Model) -> list[View]:
    """One view of each shape and output that the modes of a model need for these photos."""
    found: dict[Key, View] = {}
    for height, width in common_sizes(model.manifest.input.resize_px):
        image = np.zeros((height, width, 3), np.uint8)
        for mode in model.modes:
            if mode != "custom":  # its views are crops, as those of the other modes
                for view in InProgress(classify_steps(image, Options(tta=mode), model)).views:
                    found.setdefault(view.key, view)
    return [*found.values()]


def warm_up_shapes(model: Model, bound: RunnersInTurn) -> None:
    """Run every common view at every batch size, twice: the first run records, the next replays."""
    views = common_views(model)

    def run_all_shapes(runner: IoBindingRunner) -> None:
        for view in views:
            for size in BUCKETS:
                for _ in range(2):
                    run_batch([view] * size, runner)

    bound.warm_up(run_all_shapes)
