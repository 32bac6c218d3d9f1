"""Images in flight, and the queues in which their views wait for a batch."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

from service.inference.engine import Steps
from service.inference.tta.passes import Key, View
from service.inference.tta.passes import Result as ViewResult
from service.inference.tta.steps import Classification

Result = ViewResult | Exception


@dataclass
class StageTimings:
    """Seconds that one image spent in each stage."""

    prepare: float = 0.0
    """Decoding, and making the first views."""
    queue: float = 0.0
    inference: float = 0.0
    finish: float = 0.0
    """Reading the results: windows, aggregation, and the views of a second pass."""
    batches: list[int] = field(default_factory=list[int])
    """The size, in views, of each batch that had a view of this image."""


@dataclass(eq=False)
class PendingImage:
    """One image without an answer yet, and the views that it waits for."""

    number: int
    """Images are numbered in the order of their arrival."""
    prepare: Callable[[], Steps]
    """Decodes the image and starts its generator."""
    done: "asyncio.Future[Classification]"
    timings: StageTimings = field(default_factory=StageTimings)
    steps: Steps | None = None
    first_views: int = 0
    """Views of the first step, which admission counts."""
    held_views: int = 0
    """Views of a later step, while they wait."""
    views: Sequence[View] = ()
    results: dict[int, Result] = field(default_factory=dict[int, Result])
    queued_at: float = 0.0
    started_at: float = 0.0
    gone: bool = False
    """Whether the image is answered or has failed, or its client has left."""


class QueuedView(NamedTuple):
    """One view in a queue. Views are ordered by image number, also those of a second pass."""

    number: int
    view_index: int
    """Its index in `image.views`."""
    image: PendingImage


class Queues:
    """Waiting views, in one heap for each kind that can share a batch. The caller holds a lock."""

    def __init__(self) -> None:
        self._heaps: dict[Key, list[QueuedView]] = {}

    def __len__(self) -> int:
        """The number of waiting views.

        Views of images that are gone count until `pop` reaches them.
        """
        return sum(map(len, self._heaps.values()))

    def __bool__(self) -> bool:
        return bool(self._heaps)

    def push(self, image: PendingImage) -> None:
        """Queue all views of an image."""
        for index, view in enumerate(image.views):
            queued = QueuedView(image.number, index, image)
            heappush(self._heaps.setdefault(view.key, []), queued)

    def pop(self, share: int, most: int, *, whole_images: bool) -> list[QueuedView]:
        """Take `share` views, but `most` at most, of the kind that the oldest image waits for.

        With `whole_images` take also the remaining views of the last image.
        """
        while self._heaps:
            key = min(self._heaps, key=lambda key: self._heaps[key][0])
            heap = self._heaps[key]
            taken: list[QueuedView] = []
            while heap and len(taken) < most:
                if len(taken) >= share and not (whole_images and heap[0].image is taken[-1].image):
                    break
                queued = heappop(heap)
                if not queued.image.gone:
                    taken.append(queued)
            if not heap:
                del self._heaps[key]
            if taken:
                return taken
        return []

    def of_one_image(self) -> bool:
        """Whether all waiting views belong to one image and can share a batch."""
        if len(self._heaps) != 1:
            return False
        (heap,) = self._heaps.values()
        return all(queued.image is heap[0].image for queued in heap)
