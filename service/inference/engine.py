"""Run the generators of `service.inference.tta.steps`: give them results, batch their views."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from service.errors import NotFinite
from service.inference.stage_clock import stage
from service.inference.tta.passes import (
    InferenceBackend,
    Result,
    Results,
    StepsOf,
    View,
    run_batch,
)
from service.inference.tta.steps import Classification

T = TypeVar("T")
Steps = StepsOf[Classification]

MAX_BATCH_VIEWS = 32


@dataclass(frozen=True)
class Done(Generic[T]):
    """The answer of a generator that has ended."""

    answer: T


def step(steps: StepsOf[T], results: Results | None = None) -> list[View] | Done[T]:
    """Advance a generator: returns the views it wants next, or `Done`.

    `results` has one result for each view of the step before; None starts the generator.
    """
    try:
        if results is None:
            return next(steps)
        with stage("aggregation"):
            return steps.send(results)
    except StopIteration as stop:
        return Done(stop.value)


class InProgress(Generic[T]):
    """A generator that was started, and the views that it waits for."""

    def __init__(self, steps: StepsOf[T]) -> None:
        """Start `steps`. Raises what its first step raises."""
        self._steps = steps
        self._done: Done[T] | NotFinite | None = None
        self.views: list[View] = []
        """The views to run now. It is empty at the end."""
        self.pixels_run = 0
        """Values in all views that have run."""
        self._advance(None)

    @property
    def ended(self) -> bool:
        return self._done is not None

    @property
    def answer(self) -> T:
        """The value that the generator returned. Read it only after the end.

        Raises:
            NotFinite: the network has no answer for this image.
        """
        if isinstance(self._done, NotFinite):
            raise self._done
        if self._done is None:
            raise RuntimeError("the answer was read before the generator ended")
        return self._done.answer

    def send(self, results: Results) -> None:
        """Give the results of `views`, one for each."""
        self.pixels_run += sum(view.pixels.size for view in self.views)
        self._advance(results)

    def _advance(self, results: Results | None) -> None:
        try:
            outcome = step(self._steps, results)
        except NotFinite as error:  # it must not end the other images of the batch
            outcome = error
        if isinstance(outcome, list):
            self.views = outcome
        else:
            self._done, self.views = outcome, []


def run_views(
    views: Sequence[View], session: InferenceBackend, max_batch_views: int = MAX_BATCH_VIEWS
) -> Results:
    """Run views of any shapes, one result for each in order. Views of one shape share batches."""
    by_key: dict[object, list[int]] = {}
    for index, view in enumerate(views):
        by_key.setdefault(view.key, []).append(index)
    results: dict[int, Result] = {}
    for indices in by_key.values():
        for start in range(0, len(indices), max_batch_views):
            chunk = indices[start : start + max_batch_views]
            with stage("inference"):
                found = run_batch([views[i] for i in chunk], session)
            results.update(zip(chunk, found, strict=True))
    return [results[index] for index in range(len(views))]


def run_to_end(
    images: Sequence[InProgress[T]],
    session: InferenceBackend,
    max_batch_views: int = MAX_BATCH_VIEWS,
) -> None:
    """Run started generators to their ends. Views of all of them share batches."""
    while waiting := [image for image in images if not image.ended]:
        views = [view for image in waiting for view in image.views]
        results = iter(run_views(views, session, max_batch_views))
        del views  # the next step must not keep the views of this one
        for image in waiting:
            image.send([next(results) for _ in image.views])


def run_all(
    generators: Iterable[StepsOf[T]],
    session: InferenceBackend,
    max_batch_views: int = MAX_BATCH_VIEWS,
) -> list[T]:
    """Run generators to their ends, and return their answers in order.

    All images are in memory at once, so pass a data set in chunks. It raises the first error of a
    generator, so run untrusted images one by one.
    """
    images = [InProgress(steps) for steps in list(generators)]
    run_to_end(images, session, max_batch_views)
    return [image.answer for image in images]
