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


class Part(NamedTuple):
    """Views of one image that share a batch."""

    image: PendingImage
    indices: list[int]
    """Their places in `image.views`."""


class _Waiting(NamedTuple):
    """Views of one image that wait. An image has at most one entry in a heap."""

    number: int
    """The number of the image. Views are taken in this order, also those of a second pass."""
    indices: list[int]
    image: PendingImage


class Queues:
    """Waiting views, in one heap for each kind that can share a batch. The caller holds a lock."""

    def __init__(self) -> None:
        self._heaps: dict[Key, list[_Waiting]] = {}
        self._views = 0

    def __len__(self) -> int:
        """The number of waiting views.

        Views of images that are gone count until `pop` reaches them.
        """
        return self._views

    def push(self, image: PendingImage) -> None:
        """Queue all views of an image."""
        kinds: dict[Key, list[int]] = {}
        for index, view in enumerate(image.views):
            kinds.setdefault(view.key, []).append(index)
        for key, indices in kinds.items():
            heappush(self._heaps.setdefault(key, []), _Waiting(image.number, indices, image))
        self._views += len(image.views)

    def pop(self, share: int, most: int, *, whole_images: bool) -> list[Part]:
        """Take `share` views, but `most` at most, of the kind that the oldest image waits for.

        With `whole_images` take also the remaining views of the last image.
        """
        while self._heaps:
            key = min(self._heaps, key=lambda key: self._heaps[key][0])
            heap = self._heaps[key]
            taken: list[Part] = []
            views = 0
            while heap and views < min(share, most):
                number, indices, image = heap[0]
                room = (most if whole_images else min(share, most)) - views
                if image.gone or len(indices) <= room:
                    heappop(heap)
                else:
                    heap[0] = _Waiting(number, indices[room:], image)
                    indices = indices[:room]
                self._views -= len(indices)
                if not image.gone:
                    taken.append(Part(image, indices))
                    views += len(indices)
            if not heap:
                del self._heaps[key]
            if taken:
                return taken
        return []

    def of_one_image(self) -> bool:
        """Whether all waiting views belong to one image and can share a batch."""
        return len(self._heaps) == 1 and all(len(heap) == 1 for heap in self._heaps.values())
