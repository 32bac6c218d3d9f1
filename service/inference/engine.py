"""Drive many answers at once, synchronously: views of equal shape share a batch."""

from collections.abc import Generator, Iterable, Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.inference.image.views import Pixels
from service.inference.runtime.session import Output
from service.inference.runtime.shared_crops import Features
from service.inference.tta.steps import Classification, Results, View

T = TypeVar("T")
Steps = Generator[list[View], Results, Classification]

MAX_BATCH_VIEWS = 32


class InferenceBackend(Protocol):
    """Runs one batch of views, as a `Session` does."""

    def run(self, views: Pixels | Features, output: Output) -> NDArray[np.float32]: ...


def run_views(
    views: Sequence[View], session: InferenceBackend, max_batch_views: int = MAX_BATCH_VIEWS
) -> Results:
    """Run views of any shapes, each shape in batches of its own: one result per view, in order."""
    by_key: dict[object, list[int]] = {}
    for index, view in enumerate(views):
        by_key.setdefault(view.key, []).append(index)
    results: dict[int, NDArray[np.float32]] = {}
    for indices in by_key.values():
        for start in range(0, len(indices), max_batch_views):
            chunk = indices[start : start + max_batch_views]
            stacked = np.stack([views[i].pixels for i in chunk])
            results.update(zip(chunk, session.run(stacked, views[chunk[0]].output), strict=True))
    return [results[index] for index in range(len(views))]


def run_all(
    jobs: Iterable[Generator[list[View], Results, T]],
    session: InferenceBackend,
    max_batch_views: int = MAX_BATCH_VIEWS,
) -> list[T]:
    """Run every job to its answer, in order. All are held at once: pass chunks of a data set.

    The first error of a job is raised as it is; drive untrusted images one by one.
    """
    waiting = list(enumerate(jobs))
    answers: dict[int, T] = {}
    wanted = [(index, job, next(job)) for index, job in waiting]
    while wanted:
        views = [view for _, _, job_views in wanted for view in job_views]
        results = iter(run_views(views, session, max_batch_views))
        still: list[tuple[int, Generator[list[View], Results, T], list[View]]] = []
        for index, job, job_views in wanted:
            try:
                still.append((index, job, job.send([next(results) for _ in job_views])))
            except StopIteration as stop:
                answers[index] = stop.value
        wanted = still
    return [answers[index] for index in sorted(answers)]
