"""Several generators on one image as one: a view that more than one of them wants runs once."""

from collections.abc import Iterable
from typing import TypeVar

from service.inference.engine import InProgress
from service.inference.tta.passes import Key, Result, StepsOf, View

T = TypeVar("T")
Seen = tuple[Key, bytes]


def shared(generators: Iterable[StepsOf[T]]) -> StepsOf[list[T]]:
    """Run `generators` together; returns their answers in order.

    Views are compared by their pixels. So two modes that cut the same crop share it, and a later
    step finds the result of an earlier one.
    """
    results: dict[Seen, Result] = {}
    running = [InProgress(steps) for steps in generators]
    while waiting := [one for one in running if not one.ended]:
        wanted = {_seen(view): view for one in waiting for view in one.views}
        new = {seen: view for seen, view in wanted.items() if seen not in results}
        if new:
            results.update(zip(new, (yield list(new.values())), strict=True))
        for one in waiting:
            one.send([results[_seen(view)] for view in one.views])
    return [one.answer for one in running]


def _seen(view: View) -> Seen:
    return view.key, view.pixels.tobytes()
