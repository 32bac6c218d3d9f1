"""Several jobs on one image as one job. A view that several of them need runs once."""

from collections.abc import Generator, Iterable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from service.inference.runtime.session import Output
from service.inference.tta.steps import Results, View

T = TypeVar("T")
Steps = Generator[list[View], Results, T]
Seen = tuple[tuple[int, ...], Output, bytes]


def shared(jobs: Iterable[Steps[T]]) -> Steps[list[T]]:
    """Drive `jobs` together to their answers, in their order.

    Views are compared by their pixels. So two modes that cut the same crop share it, and a second
    step reuses the results of the first.
    """
    answers: dict[int, T] = {}
    results: dict[Seen, NDArray[np.float32]] = {}
    wanted = [(index, job, next(job)) for index, job in enumerate(jobs)]
    while wanted:
        asked = {_seen(view): view for _, _, views in wanted for view in views}
        new = {seen: view for seen, view in asked.items() if seen not in results}
        if new:
            results.update(zip(new, (yield list(new.values())), strict=True))
        still: list[tuple[int, Steps[T], list[View]]] = []
        for index, job, views in wanted:
            try:
                still.append((index, job, job.send([results[_seen(view)] for view in views])))
            except StopIteration as stop:
                answers[index] = stop.value
        wanted = still
    return [answers[index] for index in sorted(answers)]


def _seen(view: View) -> Seen:
    return (*view.key, view.pixels.tobytes())
