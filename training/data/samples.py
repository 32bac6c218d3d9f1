"""Real images as the served graph sees them: for parity checks and for int8 calibration."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from service.inference.image.geometry import Size
from service.inference.image.views import Pixels, cut, resize, size_of
from service.inference.tta.planner import VERSION_1, Planner
from service.package.manifest import Graph, InputSize, Mode
from training.data.dataset import Item
from training.data.pixels import open_image


def sample(items: Sequence[Item], count: int, seed: int) -> list[Item]:
    """At most `count` items, seeded, taken from the classes in turn."""
    turns: list[list[Item]] = []
    seen: Counter[str] = Counter()
    for item in random.Random(seed).sample(items, len(items)):
        turn = seen[item.label]
        if turn == len(turns):
            turns.append([])
        turns[turn].append(item)
        seen[item.label] += 1
    return [item for turn in turns for item in turn][:count]


def views(
    item: Item, sizes: InputSize, modes: Sequence[Mode], graph: Graph = VERSION_1
) -> Iterator[Pixels]:
    """The views that serving cuts out of a file in `modes`: uint8[H, W, 3] each."""
    planner = Planner(sizes, graph=graph)
    image = open_image(item.path, planner.decoding())
    for mode in modes:
        for one in planner.passes(mode, size_of(image)):
            resized = resize(image, one.resized, one.interpolation)
            yield np.ascontiguousarray(cut(resized, one.box, flip=one.flip))


def batch(items: Sequence[Item], size: Size) -> Pixels:
    """The files squeezed into one shape: uint8[N, H, W, 3], for checks that need exact shapes."""
    return np.stack([resize(open_image(item.path), size) for item in items])
