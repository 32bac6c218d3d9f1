"""The shapes of batches that photos of common shapes need, run once before the service is ready."""

import math
from collections.abc import Iterator

import numpy as np

from service.inference.engine import InProgress
from service.inference.runtime.in_turn import RunnersInTurn
from service.inference.runtime.io_binding import IoBindingRunner, buckets
from service.inference.tta.passes import Key, View, run_batch
from service.inference.tta.steps import Model, Options, classify_steps

WIDEST = 2
"""Every shape whose longer side is at most this many times the shorter one is warm."""
STEPS = 16
"""The highest number of lengths of the longer side that are warm."""


def common_sizes(side_px: int, stride_px: int) -> Iterator[tuple[int, int]]:
    """Height and width of photos of every common shape whose shorter side is `side_px`.

    A pass over a whole image has sides that are multiples of the stride. So these few sizes stand
    for all photos that are at most `WIDEST` times as long as wide.
    """
    longest = math.ceil(WIDEST * side_px / stride_px)
    least = side_px // stride_px + 1
    every = max(1, -(-(longest - least) // STEPS))
    for longer in (side_px, *(steps * stride_px for steps in range(least, longest + 1, every))):
        yield from dict.fromkeys(((side_px, longer), (longer, side_px)))


def common_views(model: Model) -> list[View]:
    """One view for each shape and output that the modes of a model need for these photos."""
    found: dict[Key, View] = {}
    manifest = model.manifest
    side_px = manifest.input.resize_px
    sizes = [(side_px, side_px)]  # with `squash`, photos of every shape need these views only
    if manifest.input.fit == "shorter_side":
        sizes = [*common_sizes(side_px, manifest.graph.stride_px)]
    for height, width in sizes:
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
            for size in buckets(*view.pixels.shape[:2]):
                for _ in range(2):
                    run_batch([view] * size, runner)

    bound.warm_up(run_all_shapes)
