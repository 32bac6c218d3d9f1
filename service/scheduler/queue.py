"""Images on their way, and the queues in which their views wait for a batch."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.inference.engine import Job
from service.inference.runtime.session import Output
from service.inference.tta.steps import Answer, View

Key = tuple[tuple[int, ...], Output]
Result = NDArray[np.float32] | Exception


@dataclass
class Times:
    """Where the time of one image went, in seconds."""

    begin: float = 0.0
    """Decoding, and making the first views."""
    queue: float = 0.0
    inference: float = 0.0
    finish: float = 0.0
    """Reading the results: windows, aggregation, and the views of a second pass."""
    batches: list[int] = field(default_factory=list[int])
    """Views in each batch that this image had a part in."""


@dataclass(eq=False)
class Image:
    """One image, and the views that it waits for."""

    number: int
    """Counts up."""
    begin: Callable[[], Job]
    done: "asyncio.Future[Answer]"
    times: Times = field(default_factory=Times)
    job: Job | None = None
    first: int = 0
    """Views of the first step, which it was admitted with."""
    held: int = 0
    """Views of a later step, while they wait."""
    views: Sequence[View] = ()
    results: dict[int, Result] = field(default_factory=dict[int, Result])
    queued_at: float = 0.0
    started_at: float = 0.0
    gone: bool = False
    """Answered, failed, or nobody waits for it any more."""


class Slot(NamedTuple):
    """One view in a queue. The image that came first goes first, in its second pass too."""

    number: int
    which: int
    image: Image


class Queues:
    """Views that wait, in heaps of those that can share a batch. Hold a lock around its use."""

    def __init__(self) -> None:
        self._heaps: dict[Key, list[Slot]] = {}

    def __len__(self) -> int:
        """Views that wait; those of images that are gone are counted until they are met."""
        return sum(map(len, self._heaps.values()))

    def push(self, image: Image) -> None:
        """Let all views of an image wait."""
        for which, view in enumerate(image.views):
            heappush(self._heaps.setdefault(view.key, []), Slot(image.number, which, image))

    def pop(self, share: int, most: int, *, whole_images: bool) -> list[Slot]:
        """`share` views of one key, that of the image that came first, and `most` at most.

        Of whole images, as many more as the last of them has.
        """
        while self._heaps:
            key = min(self._heaps, key=lambda key: self._heaps[key][0])
            heap = self._heaps[key]
            slots: list[Slot] = []
            while heap and len(slots) < most:
                if len(slots) >= share and not (whole_images and heap[0].image is slots[-1].image):
                    break
                slot = heappop(heap)
                if not slot.image.gone:
                    slots.append(slot)
            if not heap:
                del self._heaps[key]
            if slots:
                return slots
        return []

    def of_one_image(self) -> bool:
        """Whether all that waits are views of one image that can share a batch."""
        if len(self._heaps) != 1:
            return False
        (heap,) = self._heaps.values()
        return all(slot.image is heap[0].image for slot in heap)
