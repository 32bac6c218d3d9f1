"""The models that are served at one time. A request keeps the set that it began with."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import get_args

from service.console.nearest import with_hint
from service.errors import UnknownModel
from service.inference.image.geometry import FractionBox, Size
from service.inference.predictor import Predictor
from service.package.manifest import Mode
from service.scheduler.batcher import Batcher

SQUARE = Size(1000, 1000)
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True)
class Served:
    """One model, warm, with its own queue."""

    predictor: Predictor
    batcher: Batcher

    @property
    def name(self) -> str:
        return self.predictor.manifest.name

    @property
    def version(self) -> str:
        return self.predictor.manifest.version

    @cached_property
    def tag(self) -> str:
        """`NAME@VERSION`."""
        return f"{self.name}@{self.version}"

    @cached_property
    def _views(self) -> dict[Mode, int]:
        """Views of the first step for a square photo. Other shapes rarely differ."""
        planner = self.predictor.model.planner
        return {mode: len(planner.plan(mode, SQUARE).first) for mode in MODES if mode != "custom"}

    def views(self, mode: Mode, boxes: tuple[FractionBox, ...] = ()) -> int:
        """Views of the first step in `mode`, for the limit of the queue.

        A second pass, which few images need, is counted when it starts.
        """
        return len(boxes) if mode == "custom" else self._views[mode]


class ModelSet:
    """The models of one load, the default model first. Use from one event loop.

    A reload replaces the whole set. Requests borrow the set that they began with, and a set is
    retired when the last borrower has returned it.
    """

    def __init__(self, served: tuple[Served, ...] = ()) -> None:
        self._served = served
        self._borrowers = 0
        self._returned = asyncio.Event()
        self._returned.set()

    def __iter__(self) -> Iterator[Served]:
        return iter(self._served)

    def __bool__(self) -> bool:
        return bool(self._served)

    def get(self, wanted: str | None = None) -> Served:
        """The model `NAME` or `NAME@VERSION`; the default for None.

        Raises:
            UnknownModel: no such model is served.
        """
        for served in self._served:
            if wanted is None or wanted in (served.name, served.tag):
                return served
        tags = [served.tag for served in self._served]
        message = f"no model {str(wanted)[:80]!r}; served: {', '.join(tags)}"
        names = [served.name for served in self._served]
        raise UnknownModel(with_hint(message, str(wanted), [*tags, *names]))

    def check_room(self, timeout_s: float) -> None:
        """Refuse a request before its body is read if no model could answer it in time.

        Raises:
            Overloaded: every model would refuse one more view.
        """
        waiting = [served.batcher.admission for served in self._served]
        if waiting and all(one.pressure(1, timeout_s) > 1 for one in waiting):
            waiting[0].check(1, timeout_s)

    def __enter__(self) -> "ModelSet":
        """Borrow the set: its models stay in service until the block ends."""
        self._borrowers += 1
        self._returned.clear()
        return self

    def __exit__(self, *_: object) -> None:
        self._borrowers -= 1
        if not self._borrowers:
            self._returned.set()

    async def retire(self) -> None:
        """Wait until no request borrows the set and its queues are empty; then free the models."""
        await self._returned.wait()
        await asyncio.gather(*(served.batcher.drain() for served in self._served))
        self._served = ()
